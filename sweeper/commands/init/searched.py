"""Which options are usually searched, and a range around the default to begin with."""

from typing import Any

from sweeper.commands.init.script import Option

_RATES = ("lr", "learning_rate", "base_lr", "init_lr", "lr_init", "weight_decay", "wd", "l2", "l1")
_SIZES = (
    "batch_size", "bs", "train_batch_size", "per_device_train_batch_size", "hidden",
    "hidden_size", "hidden_dim", "n_hidden", "width", "embed_dim", "embedding_dim", "d_model",
    "channels",
)  # fmt: skip
_DEPTHS = ("layers", "n_layers", "num_layers", "depth", "n_blocks", "num_blocks")
_SHARES = ("dropout", "drop", "dropout_rate", "drop_rate", "p_drop", "label_smoothing")
_MOMENTA = ("momentum", "beta1")
_WORDS = ("optimizer", "optim", "opt", "activation", "scheduler", "lr_scheduler", "schedule")


def starting_range(option: Option) -> dict[str, Any] | None:
    """As a study file writes it; None for what is usually left as it is."""
    name, default = option.name.lower(), option.default
    if option.choices:
        is_searched = name in (*_WORDS, *_SIZES, *_DEPTHS)
        return {"choices": list(option.choices)} if is_searched else None
    if isinstance(default, str) or default is None:
        return None
    if name in _RATES:
        low, high = (default / 10, default * 10) if default > 0 else (1e-6, 1e-2)
        return {"low": _short(low), "high": _short(high), "log": True}
    if name in _SHARES:
        return {"low": 0.0, "high": 0.5}
    if name in _MOMENTA:
        return {"low": 0.8, "high": 0.99}
    if isinstance(default, int) and default > 1 and name in _SIZES:
        return {"choices": [default // 2, default, default * 2]}
    if isinstance(default, int) and default > 0 and name in _DEPTHS:
        return {"low": 1, "high": default + 2}
    return None


def _short(number: float) -> float:
    """To three digits."""
    return float(f"{number:.3g}")
