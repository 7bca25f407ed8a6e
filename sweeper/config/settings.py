"""What one trial runs with: every setting of training that a study file may fix or search.

An annotation carries a setting's bounds and its meaning. Constants and the ends of ranges are
checked against it, the JSON Schema is made from it and docs/study-file.md from that, so each
setting is declared once. A description ends in ``; default ...`` where the default is no constant.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from sweeper.config.holdout import DEFAULT_SHARE, Holdout
from sweeper.config.names import matching
from sweeper.config.references import REFERENCE
from sweeper.trial import Task

#: A function of the user's own.
Own = Annotated[
    str,
    matching(REFERENCE.pattern, "must be package.module:function"),
    Field(json_schema_extra={"pattern": ":"}),
]

OwnRun = Annotated[
    Literal["trial"] | None,
    Field(description="trial: your own code logs to the trial's run in MLflow, too"),
]

Scalar = bool | int | float | str | None
Activation = Literal["relu", "tanh", "sigmoid", "gelu", "silu", "elu", "leaky_relu"]
Precision = Literal["fp32", "tf32", "bf16"]
Scale = Literal["standard", "quantile"]
Tokenizer = Literal["words", "bpe"]
Draws = Literal["stream", "batch"]
BuiltInSchedule = Literal["constant", "cosine", "step", "onecycle"]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The keys of ``data``. ``params`` holds every key that is not one of the named ones."""

    name: Annotated[str, Field(description="Built-in data set, or `package.module:function`")]
    root: Annotated[
        str | None, Field(description="Folder of the files; default `$SWEEPER_DATA`, else `data/`")
    ] = None
    fallback: Annotated[
        Literal["digits"] | None,
        Field(description="Data set used, under another study name, when `name` is not to be had"),
    ] = None
    validation: Annotated[
        Holdout,
        Field(
            description="Share of the train split held out for validation, stratified and seeded; "
            "of rows with columns also whole groups, those that a column names, or a second file",
        ),
    ] = DEFAULT_SHARE
    task: Annotated[
        Task | None,
        Field(
            description="What is learned of a sample: one class, a truth value for each label, or "
            "numbers; default from the targets"
        ),
    ] = None
    transform: Annotated[
        Own | None,
        Field(description="Done to each input of your own `Dataset` that is trained on"),
    ] = None
    validation_transform: Annotated[
        Own | None,
        Field(description="Done to each input of your own `Dataset` that is held out"),
    ] = None
    batch_size: Annotated[int, Field(ge=1, description="Samples in a batch")] = 64
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The architecture and the arguments of its builder."""

    architecture: Annotated[
        str,
        Field(
            description="Built-in network, classification model of torchvision (`resnet18`), or "
            "`package.module:function`"
        ),
    ]
    params: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.]+(:\w+)?", self.architecture):
            raise ValueError(
                f"architecture must be a name or package.module:function, got "
                f"{self.architecture!r}"
            )


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The keys of ``train``, as the built-in training function takes them."""

    epochs: Annotated[int, Field(ge=1, description="Passes over the training data")] = 10
    loss: Annotated[
        Literal["cross_entropy", "bce", "mse", "mae", "huber"] | Own | None,
        Field(
            description="What is minimised; your own is a function of outputs and targets; "
            "default the first that fits the task"
        ),
    ] = None
    label_smoothing: Annotated[
        float, Field(ge=0, lt=1, description="Share of a target that all classes have alike")
    ] = 0.0
    class_weights: Annotated[
        Literal["none", "balanced"],
        Field(
            description="balanced: classes, or a label and its absence, count alike in the loss"
        ),
    ] = "none"
    metrics: Annotated[
        Own | None,
        Field(
            description="Further ones: outputs and targets of all "
            "validation rows -> name -> number; default none"
        ),
    ] = None
    optimizer: Annotated[
        Literal["sgd", "adam", "adamw", "rmsprop"] | Own,
        Field(
            description="Optimiser, as in torch.optim; your own is a function of groups of "
            "parameters and `lr`"
        ),
    ] = "adamw"
    learning_rate: Annotated[float, Field(gt=0, description="Peak learning rate")] = 1e-3
    backbone_rate: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="With `model.weights`: factor of the learning rate for all but the last "
            "layer",
        ),
    ] = 1.0
    momentum: Annotated[
        float,
        Field(ge=0, lt=1, description="sgd, rmsprop: momentum; others have their own"),
    ] = 0.9
    nesterov: Annotated[bool, Field(description="sgd: Nesterov momentum")] = False
    l1: Annotated[
        float, Field(ge=0, description="L1 penalty on weights, not on biases and norms")
    ] = 0.0
    l2: Annotated[
        float, Field(ge=0, description="Weight decay of weights, not of biases and norms")
    ] = 0.0
    schedule: Annotated[
        BuiltInSchedule | Own,
        Field(
            description="Learning rate over time; your own is a function of the update and the "
            "number of updates"
        ),
    ] = "constant"
    warmup_epochs: Annotated[
        float,
        Field(
            ge=0,
            description="Linear ramp before the schedule; onecycle: length of its rise, at 0 "
            "three tenths of the training",
        ),
    ] = 0.0
    step_epochs: Annotated[int, Field(ge=1, description="step: epochs between drops")] = 3
    step_gamma: Annotated[
        float, Field(gt=0, le=1, description="step: factor of the learning rate at each drop")
    ] = 0.1
    accumulate: Annotated[
        int, Field(ge=1, description="Batches whose gradients make an update")
    ] = 1
    clip_grad_norm: Annotated[
        float | None, Field(gt=0, description="Largest L2 norm of the gradient")
    ] = None
    random_crop: Annotated[
        int, Field(ge=0, description="Pictures: furthest random shift in pixels, zeros come in")
    ] = 0
    random_flip: Annotated[
        bool, Field(description="Pictures: half of them, at random, turned left to right")
    ] = False
    cutout: Annotated[
        int, Field(ge=0, description="Pictures: side in pixels of a random square set to 0")
    ] = 0
    color_jitter: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="Pictures: how far brightness, contrast and, of three channels, "
            "saturation change at random",
        ),
    ] = 0.0
    mask_time: Annotated[
        int,
        Field(
            ge=0,
            description="Clips: largest width in frames, and at most half of a clip, of a random "
            "stretch set to the mean",
        ),
    ] = 0
    mask_frequency: Annotated[
        int, Field(ge=0, description="Clips: as mask_time, in bands of a frame")
    ] = 0
    mixup: Annotated[
        float,
        Field(
            ge=0,
            le=100,
            description="Alpha of the distribution Beta(alpha, alpha) by which samples and their "
            "targets are mixed in pairs; 0 for no mixing",
        ),
    ] = 0.0
    ema: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="Decay of a moving average of the weights, which is evaluated and kept in "
            "their place; 0 for none",
        ),
    ] = 0.0
    patience: Annotated[
        int | None, Field(ge=1, description="Epochs without a better objective before the end")
    ] = None


@dataclass(frozen=True, kw_only=True)
class FunctionConfig:
    """A training routine of the user's own; ``params`` holds every other key of ``train``."""

    function: Annotated[
        str, Field(description="Your own training, `package.module:function`: run(params, trial)")
    ]
    mlflow: OwnRun = None
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CommandConfig:
    """A program of the user's own; ``params`` holds every other key of ``train``."""

    command: Annotated[
        str | list[str],
        Field(
            description="Your own program: a line that is split into words as a shell does, or a "
            "list of them; `${train.learning_rate}` stands for a value"
        ),
    ]
    resume: Annotated[
        str | list[str] | None,
        Field(
            description="Words behind it, such as `--resume ${trial.checkpoint}/last.pt`, once "
            "what they name is there; default none"
        ),
    ] = None
    args: Annotated[
        Literal["auto"] | None,
        Field(
            description="auto: searched values that the command does not name are appended, as "
            "`--name value`; default none"
        ),
    ] = None
    report: Annotated[
        dict[str, str] | None,
        Field(
            description="Metric -> regular expression with a group, its value in a line of "
            "output; default lines that are JSON objects with `epoch`"
        ),
    ] = None
    metrics: Annotated[
        str | None,
        Field(
            description="With `command`: file that the program writes and that is followed "
            "instead of its output, .jsonl or .csv, below `${trial.checkpoint}`; default none"
        ),
    ] = None
    mlflow: OwnRun = None
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """All that decides the numbers of one trial, after sampling.

    Attributes:
        params: Every value of the study file's ``data``, ``model`` and ``train`` by its dotted
            path, sampled ones included (``model.architecture.mlp.depth``).
        data: None only with training of the user's own.
        model: As ``data``.
        seed: Of weights, shuffling and dropout, in [0, 2**63).
        draws: ``stream`` if batches draw (dropout, augmentation) one after the other from one
            stream of random numbers; ``batch`` if what each draws follows from the seed and its
            number alone.
    """

    params: Mapping[str, Scalar]
    data: DataConfig | None
    model: ModelConfig | None
    train: TrainConfig | FunctionConfig | CommandConfig
    seed: int
    draws: Draws = "stream"

    @property
    def n_epochs(self) -> int | None:
        """Epochs that the trial has at most, >= 1; None if only the user's own code knows."""
        if isinstance(self.train, TrainConfig):
            return self.train.epochs
        said = self.train.params.get("epochs")
        is_number = isinstance(said, int) and not isinstance(said, bool) and said >= 1
        return said if is_number else None
