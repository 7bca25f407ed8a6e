"""Arguments of the built-in data sets and kinds of data, declared as settings are."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from sweeper.config.file_pattern import checked_pattern
from sweeper.config.holdout import TestRows
from sweeper.config.settings import Scale, Tokenizer

_PATH = Annotated[
    str,
    Field(
        description="File of rows, .csv, .tsv, .parquet or .jsonl, each but Parquet also with "
        ".gz; or, but of a table, a folder of files; must be said"
    ),
]
_TARGET = Annotated[
    str | Annotated[list[str], Field(min_length=1)],
    Field(
        description="Column to learn, or several; of a table it must be said; default `label`, "
        "which a folder gives"
    ),
]
TEST_ROWS = Annotated[
    TestRows,
    Field(
        description="Rows that are not read while searching: a column, and the word or the words "
        "that it holds for them; default none, or those of `data.validation`"
    ),
]
_FILE_COLUMN = Annotated[
    str,
    Field(
        description="Of a file of rows: its column of file names, from its own folder on; default "
        "`file`"
    ),
]
#: Of a picture in pixels; a batch of larger ones fits nowhere.
_Side = Annotated[int, Field(ge=1, le=1024)]
_PATTERN = Annotated[
    str,
    AfterValidator(checked_pattern),
    Field(
        description="Of a folder: what the paths of its files spell, such as "
        "`{digit}_{speaker}_{take}.wav`; default `{label}/...`"
    ),
]

#: Of a folder of files, or a file of rows that names them or holds texts.
_FILES = {
    "path": _PATH,
    "pattern": _PATTERN,
    "column": _FILE_COLUMN,
    "target": _TARGET,
    "test": TEST_ROWS,
}

#: All other keys of ``data`` are :class:`~sweeper.config.settings.DataConfig`'s own.
DATA_PARAMS: Mapping[str, Mapping[str, Any]] = {
    "mnist": {},
    "fashion_mnist": {},
    "kmnist": {},
    "cifar10": {},
    "digits": {
        "size": Annotated[
            int, Field(ge=8, le=256, description="Side of the images after up-sampling")
        ]
    },
    "table": {
        "path": _PATH,
        "target": _TARGET,
        "test": TEST_ROWS,
        "ignore": Annotated[list[str], Field(description="Columns that are left out")],
        "scale": Annotated[
            Scale,
            Field(
                description="How numbers are scaled: to mean 0 and deviation 1, or by quantiles "
                "to a normal distribution"
            ),
        ],
    },
    "audio": {
        **_FILES,
        "sample_rate": Annotated[
            int,
            Field(
                ge=1000,
                le=192_000,
                description="Samples a second, to which clips are brought; must be said",
            ),
        ],
        "max_seconds": Annotated[
            float,
            Field(ge=0.01, le=3600, description="What is later in a clip is cut; must be said"),
        ],
        "n_mels": Annotated[int, Field(ge=2, le=512, description="Bands of a frame")],
    },
    "images": {
        **_FILES,
        "size": Annotated[
            _Side | Annotated[list[_Side], Field(min_length=2, max_length=2)],
            Field(
                description="Side, or [height, width], to which they are scaled and cropped; "
                "without it all must be of one size"
            ),
        ],
        "channels": Annotated[
            Literal[1, 3],
            Field(description="Grey, or red, green and blue; default 1 if none has colour"),
        ],
    },
    "text": {
        **_FILES,
        "column": Annotated[
            str, Field(description="Of a file of rows, where it must be said: its column of texts")
        ],
        "tokenizer": Annotated[
            Tokenizer,
            Field(description="What a text is split into: words, or parts of them (extra `text`)"),
        ],
        "vocabulary": Annotated[
            int,
            Field(
                ge=1,
                le=1_000_000,
                description="The most words, or parts, that are known, those most frequent in "
                "training rows",
            ),
        ],
        "max_length": Annotated[
            int, Field(ge=1, le=10_000, description="The most that is read of a text")
        ],
    },
}
#: Those that say which data they are: a trial compares with no other that has another value.
FIXED_DATA_PARAMS: Mapping[str, tuple[str, ...]] = {
    "table": ("path", "target", "ignore", "test"),
    **dict.fromkeys(("audio", "images", "text"), tuple(_FILES)),
}
#: Those without a default.
REQUIRED_DATA_PARAMS: Mapping[str, tuple[str, ...]] = {
    "table": ("path", "target"),
    "audio": ("path", "sample_rate", "max_seconds"),
    "images": ("path",),
    "text": ("path",),
}
