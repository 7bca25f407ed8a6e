"""Arguments of the built-in architectures, declared as :mod:`~sweeper.config.settings` are."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from sweeper.config.settings import Activation, Scalar

_WORD_WIDTH = Annotated[
    int, Field(ge=1, le=10_000, description="Features of a word, and units of a layer")
]
_HIDDEN = {
    "activation": Annotated[Activation, Field(description="Nonlinearity after each hidden layer")],
    "dropout": Annotated[float, Field(ge=0, lt=1, description="Share of units dropped")],
    "batch_norm": Annotated[bool, Field(description="Batch normalisation in each hidden layer")],
}
#: The upper bounds keep a model that is too big countable; whether a machine holds it, check says.
ARCHITECTURE_PARAMS: Mapping[str, Mapping[str, Any]] = {
    "mlp": {
        "depth": Annotated[int, Field(ge=0, le=1000, description="Hidden layers")],
        "width": Annotated[int, Field(ge=1, le=1_000_000, description="Units of a hidden layer")],
        "embed_numbers": Annotated[
            Literal["none", "periodic"],
            Field(description="Of a table: numbers as they are, or by learned sines and cosines"),
        ],
        **_HIDDEN,
    },
    "cnn": {
        "depth": Annotated[
            int, Field(ge=1, le=10, description="Convolution blocks, each halves H and W")
        ],
        "channels": Annotated[
            int, Field(ge=1, le=10_000, description="Channels of the first block")
        ],
        "kernel_size": Annotated[int, Field(ge=1, le=99, description="Side of the square kernel")],
        **_HIDDEN,
    },
    "resnet": {
        "depth": Annotated[
            int, Field(ge=1, le=100, description="Residual blocks in each of three stages")
        ],
        "width": Annotated[int, Field(ge=1, le=10_000, description="Channels of the first stage")],
        "dropout": _HIDDEN["dropout"],
    },
    "bag": {
        "depth": Annotated[int, Field(ge=0, le=1000, description="Hidden layers of the mean")],
        "width": _WORD_WIDTH,
        "dropout": _HIDDEN["dropout"],
    },
    "rnn": {
        "cell": Annotated[
            Literal["lstm", "gru", "rnn"],
            Field(description="Of each layer; rnn is the plain one"),
        ],
        "depth": Annotated[int, Field(ge=1, le=100, description="Recurrent layers")],
        "width": _WORD_WIDTH,
        "bidirectional": Annotated[
            bool, Field(description="Whether each layer reads backwards, too")
        ],
        "pool": Annotated[
            Literal["mean", "max", "last"], Field(description="What is taken of all steps")
        ],
        "dropout": _HIDDEN["dropout"],
    },
    "transformer": {
        "depth": Annotated[int, Field(ge=1, le=100, description="Blocks of attention")],
        "width": _WORD_WIDTH,
        "heads": Annotated[
            int, Field(ge=1, le=1000, description="Of attention; the width is a multiple of them")
        ],
        "positions": Annotated[
            Literal["learned", "sinusoidal"], Field(description="What tells the place of a step")
        ],
        "dropout": _HIDDEN["dropout"],
    },
}

#: What the builders take where a file says nothing, for whoever loads no torch.
ARCHITECTURE_DEFAULTS: Mapping[str, Mapping[str, Scalar]] = {
    "mlp": {"depth": 2, "width": 128, "activation": "relu", "dropout": 0.0, "batch_norm": False},
    "cnn": {
        "depth": 2,
        "channels": 32,
        "kernel_size": 3,
        "activation": "relu",
        "dropout": 0.0,
        "batch_norm": False,
    },
    "resnet": {"depth": 1, "width": 16, "dropout": 0.0},
    "bag": {"depth": 0, "width": 128, "dropout": 0.0},
    "rnn": {
        "cell": "lstm",
        "depth": 1,
        "width": 128,
        "bidirectional": True,
        "pool": "max",
        "dropout": 0.0,
    },
    "transformer": {"depth": 2, "width": 128, "heads": 4, "positions": "learned", "dropout": 0.0},
}
