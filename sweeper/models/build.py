"""From the name of an architecture to a checked model."""

import copy
import difflib
import inspect
import io
import sys
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from sweeper.config.references import load_reference
from sweeper.config.settings import ModelConfig
from sweeper.errors import TrainingError
from sweeper.models.bag import build_bag
from sweeper.models.cnn import build_cnn
from sweeper.models.mlp import build_mlp
from sweeper.models.resnet import build_resnet
from sweeper.models.rnn import build_rnn
from sweeper.models.table import NumberEmbedding, TableFeatures
from sweeper.models.torchvision import build_classifier, classifier_names
from sweeper.models.transformer import build_transformer
from sweeper.trial import DataInfo

Builder = Callable[..., nn.Module]

BUILDERS: Mapping[str, Builder] = {
    "mlp": build_mlp,
    "cnn": build_cnn,
    "resnet": build_resnet,
    "bag": build_bag,
    "rnn": build_rnn,
    "transformer": build_transformer,
}


def build_for(model: ModelConfig, data: DataInfo) -> nn.Module:
    """The model of a trial, as :func:`build_model` builds it.

    A builder whose first parameter is called ``data`` is given them, and its model takes samples
    as they are. For any other the rows of a table are embedded first, so that it is asked for a
    network of so many features.

    Args:
        model: Its architecture and arguments.
        data: What it is to take, if :func:`~sweeper.models.forms.check_inputs` lets it.

    Returns:
        A module [B, *data.input_shape] of the data's dtype -> [B, data.n_outputs].

    Raises:
        TrainingError: If it cannot be built.
        SpecError: If the user's builder cannot be imported.
    """
    params = dict(model.params)
    is_built_in = model.architecture in BUILDERS
    numbers: NumberEmbedding = params.pop("embed_numbers", "none") if is_built_in else "none"
    if data.features is None and numbers != "none":
        raise TrainingError(
            f"model.embed_numbers: {numbers} is for tables, and {data.name} is none; leave it out"
        )
    if _takes_data(_find_builder(model.architecture)):
        return build_model(model.architecture, data, data.n_outputs, **params)
    if data.features is None:
        return build_model(model.architecture, data.input_shape, data.n_outputs, **params)
    features = TableFeatures(data.features, numbers)
    shape = (features.n_features,)
    net = build_model(model.architecture, shape, data.n_outputs, **params)
    return nn.Sequential(OrderedDict(features=features, net=net))


def _takes_data(builder: Builder) -> bool:
    """Whether it wants to know more of the data than the shape of a sample."""
    return next(iter(inspect.signature(builder).parameters), "") == "data"


def build_model(
    architecture: str, samples: tuple[int, ...] | DataInfo, n_outputs: int, **params: Any
) -> nn.Module:
    """Build a model from the current state of torch's random generator.

    Args:
        architecture: A key of ``BUILDERS``, a name of torchvision.models, or
            ``package.module:function``.
        samples: Shape of one, [C, H, W] for images; or the data, if the builder takes them.
        n_outputs: Outputs per sample, >= 1.
        **params: Arguments of the builder; what is left out keeps the builder's default.

    Returns:
        A module on the CPU, in channels_last if it convolves: samples [B, ...] -> outputs
        [B, n_outputs]. That it keeps to these shapes is for :func:`check_model` to see.

    Raises:
        TrainingError: If there is no such architecture or it does not take ``params``.
        SpecError: If the user's function cannot be imported.
    """
    builder = _find_builder(architecture)
    _check_arguments(architecture, builder, params)
    model = builder(samples, n_outputs, **copy.deepcopy(params))
    if not isinstance(model, nn.Module):
        raise TrainingError(
            f"model.architecture: {architecture} must return a torch.nn.Module, "
            f"got {type(model).__name__}"
        )
    if any(isinstance(module, nn.Conv2d) for module in model.modules()):
        # 1.1 to 1.6 times as fast on a CPU. Here, as an optimiser's state takes the layout over.
        model.to(memory_format=torch.channels_last)
    return model


def model_params(architecture: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """``params`` with the builder's defaults laid in, so that a record of them is complete.

    Defaults that are no plain values (a class, a tuple) are left out, and so are torchvision's,
    which its builders do not show.

    Raises:
        TrainingError: If there is no such architecture.
    """
    signature = inspect.signature(_find_builder(architecture))
    defaults = {
        name: parameter.default
        for name, parameter in list(signature.parameters.items())[2:]
        if parameter.default is None or isinstance(parameter.default, bool | int | float | str)
    }
    return defaults | dict(params)


def check_model(
    model: nn.Module,
    input_shape: tuple[int, ...],
    n_outputs: int,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Run a batch of two blank samples in eval mode, without changing the model.

    Args:
        model: On any device; its mode stays as it is.
        input_shape: Of one sample.
        n_outputs: Outputs expected per sample.
        dtype: Of the samples.

    Raises:
        TrainingError: If the model cannot take the batch, returns something other than outputs
            [2, n_outputs], has nothing to train, or a state that no checkpoint can hold.
    """
    place = _place(model)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise TrainingError(f"{place} has no parameter that requires a gradient")
    batch = torch.zeros(2, *input_shape, device=trained[0].device, dtype=dtype)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            outputs = model(batch)
    except (RuntimeError, ValueError, TypeError, AssertionError) as exc:
        kind = "" if dtype == torch.float32 else f"{dtype} ".removeprefix("torch.")
        samples = f"{kind}samples of shape {list(input_shape)}"
        if line := line_of(type(model).__module__, exc):
            raise TrainingError(
                f"{place} raised {type(exc).__name__} for {samples}: {exc} ({line})"
            ) from exc
        raise TrainingError(
            f"{place} cannot take {samples}: {exc}; "
            "change the size of the data or take another architecture"
        ) from exc
    finally:
        model.train(was_training)
    check_outputs(model, outputs, n_outputs)
    _check_state(model)


def check_outputs(model: nn.Module, outputs: object, n_outputs: int) -> None:
    """See that it is what a model must return for two samples, in the mode that it is in.

    Raises:
        TrainingError: If it is something else.
    """
    mode = " while training" if model.training else ""
    rule = f"{_place(model)} must return outputs [B, n_outputs], here [2, {n_outputs}]"
    if not isinstance(outputs, torch.Tensor):
        raise TrainingError(f"{rule}, got {type(outputs).__name__}{mode}")
    if outputs.shape != (2, n_outputs):
        raise TrainingError(f"{rule}, got {list(outputs.shape)}{mode}")
    if not outputs.is_floating_point():
        raise TrainingError(f"{rule} as floating point, got {outputs.dtype}{mode}")


def _check_state(model: nn.Module) -> None:
    """See that what the ``state_dict`` holds beside tensors can be kept and comes back.

    Modules keep there what they like (``get_extra_state``). A file that is read must not run
    code, so torch reads plain values alone.
    """
    state = model.state_dict()
    others = {name: value for name, value in state.items() if type(value) is not torch.Tensor}
    if not others:
        return
    try:
        model.load_state_dict({**state, **restored(others)})
    except Exception as exc:
        reason = str(exc).partition("\n")[0]
        raise TrainingError(
            f"{_place(model)}: its state_dict holds {', '.join(others)}, which a checkpoint "
            f"cannot bring back ({type(exc).__name__}: {reason}); let get_extra_state return "
            "tensors, numbers, strings, and lists, tuples and dicts of them, and set_extra_state "
            "take it"
        ) from exc


def restored(values: Any) -> Any:
    """What comes back of values that a checkpoint takes.

    Raises:
        Exception: Whatever torch meets that cannot be saved, or read without running code.
    """
    file = io.BytesIO()
    torch.save(values, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def line_of(module: str, exc: BaseException) -> str:
    """``net.py:12``, the innermost line of a module that raised it; empty if none did.

    Of torch's and torchvision's own modules there is none: who reads it cannot mend them.
    """
    if module.partition(".")[0] in ("torch", "torchvision", "sweeper"):
        return ""
    file = getattr(sys.modules.get(module), "__file__", None)
    frames = traceback.extract_tb(exc.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    return f"{file}:{lines[-1]}" if lines else ""


def _place(model: nn.Module) -> str:
    return f"model.architecture: {type(model).__name__}"


def torch_dtype(name: str) -> torch.dtype:
    """The dtype of that name.

    Raises:
        TrainingError: If torch has none.
    """
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise TrainingError(f"{name!r} is no dtype of torch")
    return dtype


def _find_builder(architecture: str) -> Builder:
    if architecture in BUILDERS:
        return BUILDERS[architecture]
    if ":" in architecture:
        return load_reference(architecture)
    names = classifier_names()
    if architecture in names:
        return partial(build_classifier, architecture)
    near = difflib.get_close_matches(architecture, [*BUILDERS, *names])
    raise TrainingError(
        f"model.architecture: unknown architecture {architecture!r}; "
        + (
            f"did you mean {' or '.join(near)}?"
            if near
            else "it is none of ours or torchvision's."
        )
        + f" Take {', '.join(BUILDERS)}, a name of torchvision.models, or package.module:function"
    )


def _check_arguments(architecture: str, builder: Builder, params: Mapping[str, Any]) -> None:
    signature = inspect.signature(builder)
    try:
        signature.bind_partial((), 0)
        way_out = f"it takes {', '.join(list(signature.parameters)[2:]) or 'no others'}"
    except TypeError:
        way_out = "its first two must be the shape of a sample and the number of outputs"
    try:
        signature.bind((), 0, **params)
    except TypeError as exc:
        raise TrainingError(f"model.architecture: {architecture}: {exc}; {way_out}") from exc
