"""Which samples the built-in architectures take."""

from collections.abc import Mapping
from typing import Literal

from sweeper.errors import DataError
from sweeper.trial import DataInfo, are_channels_last

Form = Literal["text", "frames", "a table", "images", "numbers"]
#: What the built-in architectures take; ``numbers`` of those over time have the form of frames.
TAKES: Mapping[str, tuple[Form, ...]] = {
    "mlp": ("a table", "images", "numbers"),
    "cnn": ("images", "frames"),
    "resnet": ("images",),
    "bag": ("text",),
    "rnn": ("text", "frames", "numbers"),
    "transformer": ("text", "frames", "numbers"),
}


def check_inputs(architecture: str, data: DataInfo) -> None:
    """See that a built-in architecture can mean something by such samples; others may take any.

    Raises:
        DataError: If it cannot.
    """
    if ":" in architecture:
        return
    form, forms = _form(data), TAKES.get(architecture, ("images",))
    if form not in forms:
        fitting = ", ".join(name for name, each in TAKES.items() if form in each)
        raise DataError(
            f"model.architecture: {architecture} takes {', '.join(forms)}, and {data.name} is "
            f"{form}; take {fitting}, or a model of your own"
        )
    if data.tokens is None and data.input_dtype != "float32":
        raise DataError(
            f"data.name: the inputs are {data.input_dtype}, and {architecture} computes with "
            "float32; return inputs.float(), or take a model of your own"
        )
    if form == "images" and architecture != "mlp" and are_channels_last(data.input_shape):
        raise DataError(
            f"data.name: the inputs are {list(data.input_shape)}, which looks like images with "
            f"their channels last, and {architecture} takes [C, H, W]; return "
            "inputs.permute(0, 3, 1, 2)"
        )


def _form(data: DataInfo) -> Form:
    if data.tokens is not None:
        return "text"
    if data.frames:
        return "frames"
    if data.features is not None:
        return "a table"
    return "images" if len(data.input_shape) == 3 else "numbers"
