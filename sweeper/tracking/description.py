"""What a study has come to, in words: the note that its run in MLflow shows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from sweeper.config.study import StudySpec
from sweeper.durable import Step, durable
from sweeper.imports import loading
from sweeper.study.best import Best, BestPruned
from sweeper.study.failures import Failure
from sweeper.study.result import Result
from sweeper.text import format_counts, format_values, redacted
from sweeper.tracking.batch import run_tags
from sweeper.tracking.client import artifact_errors
from sweeper.tracking.parent import Parent
from sweeper.tracking.view import run_link, view_link

if TYPE_CHECKING:
    import pandas as pd

_NOTE = "mlflow.note.content"
#: The first line of every note of ours: a definition, which Markdown does not show.
_MARK = "[sweeper]: #"
#: Of a Pareto front, and of causes of failures, so many are named.
_MOST = 10


@dataclass(frozen=True)
class Description:
    """What is told of a study.

    Attributes:
        spec: The study file.
        summary: How many trials there are of how many, by state.
        warm_start: What the sampler began with of an earlier study; empty if with nothing.
        front: The best trial, or those of the Pareto front.
        best_pruned: As in :class:`~sweeper.study.result.Result`.
        failures: The most frequent first.
        trials: A row for each.
    """

    spec: StudySpec
    summary: str
    warm_start: str
    front: Sequence[Best]
    best_pruned: BestPruned | None
    failures: Sequence[Failure]
    trials: "pd.DataFrame"

    @property
    def told(self) -> list[Best | BestPruned]:
        """Trials that are named."""
        return [*self.front[:_MOST], *([self.best_pruned] if self.best_pruned else [])]

    @classmethod
    def of(cls, result: Result) -> Self:
        """Read from the study's storage."""
        summary = f"{result.n_finished} of {result.goal} trials: {format_counts(result.counts)}"
        return cls(
            result.spec,
            summary,
            result.warm_start,
            result.front,
            result.best_pruned,
            result.failures,
            result.trials(),
        )


def prepare_description() -> None:
    """Import what draws, which takes a good part of a second."""
    with loading("matplotlib"):
        import sweeper.tracking.pictures  # noqa: F401


def write_description(parent: Parent, description: Description, runs: Mapping[int, str]) -> None:
    """Let the study's run show it, with pictures; nothing is drawn or sent if it does.

    A note of somebody else's stays as it is.

    Args:
        parent: The study's run.
        description: Of the study.
        runs: Number of a trial -> id of its run, as far as that is known here.
    """
    client, run_id = parent.client, parent.run_id
    note = render_note(description, parent.experiment_id, runs)
    before = client.get_run(run_id).data.tags.get(_NOTE, "")
    if before.startswith(note):
        return
    prepare_description()
    from sweeper.tracking.pictures import draw_pictures

    pictures = draw_pictures(description.spec, description.trials)
    for name, figure in pictures.items():
        with artifact_errors(client.tracking_uri), durable(Step.MIRROR_SEND):
            client.log_figure(run_id, figure, name)
    if not before or before.startswith(_MARK):
        shown = [f"![](get-artifact?path={name}&run_uuid={run_id})" for name in pictures]
        with durable(Step.MIRROR_SEND):
            client.log_batch(run_id, tags=run_tags({_NOTE: "\n\n".join([note, *shown])}))


def render_note(description: Description, experiment_id: str, runs: Mapping[int, str]) -> str:
    """The note, in Markdown, without pictures; arguments as in :func:`write_description`."""

    def name(number: int) -> str:
        if number not in runs:
            return f"trial {number}"
        return f"[trial {number}]({_relative(run_link(experiment_id, runs[number]))})"

    table = _relative(view_link(experiment_id))
    charts = _relative(view_link(experiment_id, charts=True))
    blocks = [
        _MARK,
        f"**{description.summary}**",
        *([f"Warm start: {_plain(description.warm_start)}."] * bool(description.warm_start)),
        *_best(description, name),
        *_failures(description.failures),
        f"[All trials, best first]({table}), [their charts]({charts}); the study file with every "
        "default written out is the artifact `study.yaml`.",
    ]
    return "\n\n".join(blocks)


def _relative(place: str) -> str:
    """From the page on which it stands, as MLflow need not be at the root of its host."""
    return place.removeprefix("/")


def _best(description: Description, name: Callable[[int], str]) -> Iterator[str]:
    front, pruned = description.front, description.best_pruned
    if len(front) == 1:
        yield f"Best: {name(front[0].number)}, {format_values(front[0].values)}."
        rows = [f"| {key} | {_shown(value)} |" for key, value in front[0].params.items()]
        if rows:
            yield "\n".join(["| searched | best |", "|---|---|", *rows])
    elif front:
        lines = [f"- {name(best.number)}: {format_values(best.values)}" for best in front[:_MOST]]
        more = len(front) - len(lines)
        yield "\n".join(["Pareto front:", "", *lines, *([f"- and {more} more"] * bool(more))])
    if pruned is not None:
        yield (
            f"Better before it was pruned, after epoch {pruned.epoch}, and without a model: "
            f"{name(pruned.number)}, {format_values(pruned.values)}."
        )


def _failures(failures: Sequence[Failure]) -> Iterator[str]:
    lines = [
        f"- {failure.n_trials} of {failure.kind}: `{_plain(failure.cause)}`"
        for failure in failures[:_MOST]
    ]
    if lines:
        yield "\n".join(["Failed:", "", *lines])


def _shown(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return _plain(text).replace("|", "\\|")


def _plain(text: str) -> str:
    """One line that Markdown leaves as it is within backquotes."""
    return " ".join(redacted(text).replace("`", "'").split())
