"""A script -> the text of a study that sweeps it by ``train.command``."""

import re
import shlex
import textwrap
from collections.abc import Sequence
from typing import Any

from sweeper.commands.init.script import Option, Printed, Script
from sweeper.commands.init.searched import starting_range
from sweeper.commands.init.template import BUDGET, HEAD, render_line

#: What a trial has, by names that options have for it.
_OF_TRIAL = {
    "seed": ("seed", "random_seed", "rng_seed", "random_state"),
    "checkpoint": (
        "out", "output", "outdir", "out_dir", "output_dir", "save_dir", "savedir", "ckpt_dir",
        "checkpoint_dir", "work_dir", "workdir", "log_dir", "logdir", "results_dir",
    ),
    "device": ("device",),
}  # fmt: skip
#: Are ``train.epochs``, by which sweeper knows how long a trial is.
_EPOCHS = ("epochs", "num_epochs", "n_epochs", "max_epochs", "num_train_epochs", "nb_epochs")
#: Names that ``train`` has for itself.
_TAKEN = ("command", "args", "report", "metrics", "mlflow", "function")
_LOSSES = ("loss", "error", "err", "rmse", "mse", "mae", "nll", "perplexity", "ppl", "wer", "cer")
_HELD_OUT = ("val", "valid", "validation", "eval", "dev", "test")
_BLANK = Printed("val_loss", "val_loss=")
_WIDTH = 95


def render_script_study(script: Script) -> str:
    """A study of the script; what could not be told of it is said in comments."""
    words = ["torchrun", "--nproc-per-node", "2"] if script.is_distributed else ["python"]
    words.append(shlex.quote(str(script.path)))
    lines: list[str] = []
    left: list[str] = []
    for option in script.options:
        if own := _of_trial(option):
            words += [option.flag, f"${{trial.{own}}}"]
        elif not option.takes_value or (option.default is None and not option.is_required):
            left.append(option.flag)
        else:
            words += [word for word in (option.flag, f"${{train.{_key(option)}}}") if word]
            lines.append(_value_line(option))
    command = textwrap.wrap(
        " ".join(words), _WIDTH, break_long_words=False, break_on_hyphens=False
    )
    return "".join(
        [
            HEAD.format(about=f" of {script.path}, which is not changed"),
            _objective_line(script),
            BUDGET,
            "\ntrain:\n  command: >-\n",
            *(f"    {line}\n" for line in command),
            f"  # not named, so left at its default: {', '.join(left)}\n" if left else "",
            *_report_lines(script),
            *lines,
        ]
    )


def _of_trial(option: Option) -> str:
    """What a trial has of that kind; empty if nothing."""
    name = option.name.lower()
    found = next((own for own, names in _OF_TRIAL.items() if name in names), "")
    return found if option.takes_value and option.flag else ""


def _key(option: Option) -> str:
    """Its name in ``train``."""
    if option.name.lower() in _EPOCHS:
        return "epochs"
    return f"option_{option.name}" if option.name in _TAKEN else option.name


def _value_line(option: Option) -> str:
    if option.default is None:
        value: Any = option.choices[0] if option.choices else "FILL-IN"
        return render_line(_key(option), value, "the script wants it; yours")
    if (found := starting_range(option)) is not None:
        line = render_line(_key(option), found).rstrip()
        return f"{line:<36} # {option.default} by default\n"
    why = f"of {', '.join(map(str, option.choices))}" if option.choices else ""
    return render_line(_key(option), option.default, why)


def _metrics(script: Script) -> Sequence[str]:
    """What it measures, the likeliest objective first."""
    names = script.json_keys or [printed.name for printed in script.printed] or [_BLANK.name]
    return sorted((name for name in names if name != "epoch"), key=_likelihood)


def _likelihood(name: str) -> tuple[int, bool]:
    """Sorts held-out rows first, then training rows last; a share that is right before a loss."""
    parts = re.split(r"[^a-z]+", name.lower())
    rank = 0 if set(parts) & set(_HELD_OUT) else 2 if "train" in parts else 1
    return rank, _is_loss(name)


def _is_loss(name: str) -> bool:
    return bool(set(re.split(r"[^a-z]+", name.lower())) & set(_LOSSES))


def _objective_line(script: Script) -> str:
    names = _metrics(script)
    direction = "minimize" if _is_loss(names[0]) else "maximize"
    why = f"guessed; others: {', '.join(names[1:])}" if names[1:] else "guessed"
    return f"# {why}\nobjective: {{metric: {names[0]}, direction: {direction}}}\n"


def _report_lines(script: Script) -> list[str]:
    """How its output is read, where it is no JSON."""
    if script.json_keys:
        return ["  # its lines of JSON that have `epoch` are its reports\n"]
    why = "as it prints them: ( ) is around the number"
    if not script.printed:
        why = "to be filled in: what stands ahead of the number, which is in ( )"
    lines = [f"  report:                            # {why}\n"]
    for printed in script.printed or [_BLANK]:
        lines.append(f"    {printed.name}: '{_pattern(printed.ahead)}'\n")
    return lines


def _pattern(ahead: str) -> str:
    """Finds a number behind those words, with whatever room between them."""
    words = r"\s*".join(re.escape(word) for word in ahead.split())
    return rf"\b{words}\s*([-+.\w]+)".replace("'", "''")
