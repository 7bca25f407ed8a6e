"""What holds for a whole process, as far as torch has it."""

from collections.abc import Iterator
from functools import partial

import torch
import torch.distributed
import torch.multiprocessing

from sweeper.workers.python_switches import Switch, attribute_switches

#: Of products and convolutions of float32: the newer way to say it, which an older torch lacks ...
_PRECISIONS = (
    "torch.backends.fp32_precision",
    "torch.backends.cuda.matmul.fp32_precision",
    "torch.backends.cudnn.fp32_precision",
    "torch.backends.cudnn.conv.fp32_precision",
    "torch.backends.cudnn.rnn.fp32_precision",
    "torch.backends.mkldnn.fp32_precision",
    "torch.backends.mkldnn.matmul.fp32_precision",
    "torch.backends.mkldnn.conv.fp32_precision",
    "torch.backends.mkldnn.rnn.fp32_precision",
)
#: ... and the older, which cannot be read while the two disagree.
_ALLOW_TF32 = ("torch.backends.cuda.matmul.allow_tf32", "torch.backends.cudnn.allow_tf32")
_ATTRIBUTES = (
    "torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction",
    "torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction",
    "torch.backends.cudnn.enabled",
    "torch.backends.cudnn.benchmark",
    "torch.backends.cudnn.benchmark_limit",
    "torch.backends.cudnn.deterministic",
    "torch.backends.mkldnn.enabled",
    "torch.backends.mkldnn.deterministic",
    "torch.backends.opt_einsum.enabled",
    "torch.utils.deterministic.fill_uninitialized_memory",
)


def torch_switches() -> Iterator[Switch]:
    """All but the random generators, which are seeded for each trial."""
    yield from attribute_switches(_ATTRIBUTES)
    yield _precision_of_float32()
    yield Switch("torch.set_default_dtype", torch.get_default_dtype, torch.set_default_dtype)
    yield Switch("torch.set_default_device", torch.get_default_device, _set_default_device)
    yield Switch("torch.set_num_threads", torch.get_num_threads, torch.set_num_threads)
    yield Switch(
        "torch.use_deterministic_algorithms",
        torch.get_deterministic_debug_mode,
        torch.set_deterministic_debug_mode,
    )
    yield Switch("torch.set_grad_enabled", torch.is_grad_enabled, torch._C._set_grad_enabled)
    yield Switch(
        "torch.autograd.set_detect_anomaly",
        lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        lambda modes: torch.autograd.set_detect_anomaly(*modes),
    )
    yield Switch("torch.set_flush_denormal", _flushes_denormals, torch.set_flush_denormal)
    yield Switch("torch.set_warn_always", torch.is_warn_always_enabled, torch.set_warn_always)
    for device in ("cpu", "cuda"):
        yield Switch(
            f"torch.set_autocast_enabled({device!r})",
            partial(torch.is_autocast_enabled, device),
            partial(torch.set_autocast_enabled, device),
        )
    cuda = torch.backends.cuda
    yield Switch(
        "torch.backends.cuda.enable_flash_sdp", cuda.flash_sdp_enabled, cuda.enable_flash_sdp
    )
    yield Switch(
        "torch.backends.cuda.enable_mem_efficient_sdp",
        cuda.mem_efficient_sdp_enabled,
        cuda.enable_mem_efficient_sdp,
    )
    yield Switch(
        "torch.backends.cuda.enable_math_sdp", cuda.math_sdp_enabled, cuda.enable_math_sdp
    )
    yield Switch(
        "torch.backends.cuda.enable_cudnn_sdp", cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp
    )
    yield Switch(
        "torch.multiprocessing.set_sharing_strategy",
        torch.multiprocessing.get_sharing_strategy,
        torch.multiprocessing.set_sharing_strategy,
    )
    yield Switch("torch.distributed.init_process_group", _is_in_group, _leave_group)
    if torch.cuda.is_available():
        yield Switch("torch.cuda.set_device", _current_gpu, torch.cuda.set_device)


def _precision_of_float32() -> Switch:
    newer, older = list(attribute_switches(_PRECISIONS)), list(attribute_switches(_ALLOW_TF32))
    # The newer first, so that the older can be written, and last, as that changes them again.
    order = [*newer, *older, *newer]

    def read() -> list[object]:
        return [switch.read() for switch in [*newer, *older]]

    def assign(values: list[object]) -> None:
        for switch, value in zip(order, [*values, *values[: len(newer)]], strict=True):
            switch.assign(value)

    return Switch("torch.backends: the precision of float32", read, assign)


def _set_default_device(device: torch.device) -> None:
    torch.set_default_device(None)
    if torch.get_default_device() != device:
        torch.set_default_device(device)


def _current_gpu() -> int:
    """Without using it, which takes memory there."""
    return torch.cuda.current_device() if torch.cuda.is_initialized() else 0  # type: ignore[no-untyped-call]


def _flushes_denormals() -> bool:
    return (torch.tensor(1e-40, device="cpu", dtype=torch.float32) * 1).item() == 0


def _is_in_group() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _leave_group(_: bool) -> None:
    torch.distributed.destroy_process_group()
