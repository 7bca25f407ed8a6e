"""What ``gpu_check.py`` measures, and what is to be reached on a GPU of the class of an H100."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gpu_trials import Steps


@dataclass(frozen=True)
class StepCase:
    """Steps of trials that one worker trains side by side.

    Attributes:
        what: Is trained.
        steps: That are counted.
        pack: ``run.pack``; 1 for none.
        before: What 2bacb41 trains instead, a key of ``Sizes.steps_before``.
        goal: Times as many steps a second.
    """

    what: str
    steps: Steps
    pack: int
    before: str
    goal: float


@dataclass(frozen=True)
class Before:
    """A study as 2bacb41 runs it.

    Attributes:
        n_workers: Of the GPU.
        goal: Times as long as this version.
        n_trials: If it is a shorter study: so many trials ...
        n_epochs: ... of so many epochs, >= 2.
    """

    n_workers: int
    goal: float
    n_trials: int | None = None
    n_epochs: int | None = None

    @property
    def words(self) -> str:
        """The workers."""
        return "one worker" if self.n_workers == 1 else f"{self.n_workers} workers"


@dataclass(frozen=True)
class SpanCase:
    """A study from its first step to the last trial's end.

    Attributes:
        what: Is trained.
        name: Of the study.
        model: A key of ``gpu_trials.MODELS``; None for the file of that name in ``studies/``.
        n_trials: Of it.
        n_epochs: Of each trial; None if a pruner decides.
        overrides: That ``sweeper run`` is given.
        before: What it is compared with.
    """

    what: str
    name: str
    model: str | None
    n_trials: int
    n_epochs: int | None
    overrides: Sequence[str]
    before: Sequence[Before]

    @property
    def file(self) -> str:
        """Of the study."""
        return f"{self.name}.yaml"


@dataclass(frozen=True)
class Sizes:
    """All of it: what takes least comes first."""

    steps_before: Mapping[str, Steps]
    steps: Sequence[StepCase]
    spans: Sequence[SpanCase]


FULL = Sizes(
    steps_before={
        "mlp": Steps("mlp", 1, n_steps=1000),
        "unlike mlp": Steps("unlike mlp", 4, n_steps=250),
        "cnn": Steps("cnn", 1, n_steps=700),
    },
    steps=[
        StepCase("one MLP", Steps("mlp", 1, n_steps=3000), 1, "mlp", 5),
        StepCase("64 MLPs of one shape", Steps("mlp", 64, n_steps=500), 64, "mlp", 150),
        StepCase("32 unlike MLPs", Steps("unlike mlp", 32, n_steps=400), 1, "unlike mlp", 40),
        StepCase("32 CNNs", Steps("cnn", 32, n_steps=150), 1, "cnn", 8),
    ],
    spans=[
        SpanCase(
            "studies/mnist.yaml", "mnist", None, 20, None, ["run.lanes=auto"], [Before(1, goal=3)]
        ),
        SpanCase(
            "64 MLPs x 10 epochs",
            "mlps",
            "mlp",
            64,
            10,
            ["run.lanes=64", "run.pack=64"],
            [Before(1, 40, n_trials=4, n_epochs=2), Before(16, 8, n_epochs=2)],
        ),
        SpanCase(
            "32 CNNs x 5 epochs",
            "cnns",
            "cnn",
            32,
            5,
            ["run.lanes=32"],
            [Before(1, 8, n_trials=4, n_epochs=2), Before(16, 2, n_epochs=2)],
        ),
    ],
)
