"""Small studies in real storages, and processes that work on them."""

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from sweeper.config.reader import parse_study
from sweeper.config.study import StudySpec
from sweeper.errors import TrialPruned
from sweeper.events import Ended, Event, read_events
from sweeper.paths import RunPaths
from sweeper.study.conclude import conclude
from sweeper.study.create import create_study
from sweeper.study.presence import Presence
from sweeper.study.running_trial import RunningTrial
from sweeper.study.storage.transfer import TrialTransfer
from sweeper.study.study import SweepStudy
from sweeper.timing import TimeLedger
from sweeper.trial import EpochMetrics, Outcome, TrialState
from tests.support.forks import FORKS

AGENT = "agent"
Body = Callable[[RunningTrial], None]
CONDITIONAL = {
    "architecture": {
        "choices": {
            "mlp": {"depth": {"low": 1, "high": 8}, "width": {"choices": [16, 32, 64]}},
            "cnn": {"channels": {"choices": [4, 8]}},
        }
    }
}


def plain_study(**changes: Any) -> dict[str, Any]:
    """The file of a flat study of ten random trials; ``changes`` replace its top-level keys."""
    return {
        "name": "small",
        "objective": {"metric": "val_accuracy", "direction": "maximize"},
        "budget": {"trials": 10},
        "seed": 7,
        "sampler": {"name": "random"},
        "pruner": {"name": "none"},
        "data": {"name": "digits"},
        "model": {"architecture": "mlp"},
        "train": {"epochs": 3, "learning_rate": {"low": 0.001, "high": 0.1, "log": True}},
        **changes,
    }


def spec_of(folder: Path, **changes: Any) -> StudySpec:
    """That file, read."""
    text = yaml.safe_dump(plain_study(**changes), sort_keys=False)
    return parse_study(text, folder / "small.yaml")


def begin(folder: Path, **changes: Any) -> SweepStudy:
    """Open, or begin, that study in its own storage and fill it with waiting trials."""
    spec = spec_of(folder, **changes)
    study = create_study(spec, RunPaths(folder / "mlruns", spec.name))
    study.queue.top_up()
    return study


def begin_in_memory(folder: Path, **changes: Any) -> SweepStudy:
    """As :func:`begin`, in a storage that needs no disk."""
    return begin_in(InMemoryStorage(), folder, **changes)


def begin_in(storage: InMemoryStorage, folder: Path, **changes: Any) -> SweepStudy:
    """As :func:`begin_in_memory`, in that storage."""
    spec = spec_of(folder, **changes)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    directions = [StudyDirection[direction.upper()] for direction in spec.objective.directions]
    storage.create_new_study(directions, spec.name)
    study = SweepStudy(spec, RunPaths(folder / "mlruns", spec.name), storage)
    study.queue.top_up()
    return study


def claim_trial(
    study: SweepStudy, worker: str = "worker", *, alone: bool = False
) -> FrozenTrial | None:
    """Claim a trial for a worker of an agent on this machine that holds a lease."""
    study.leases.renew(AGENT)
    return next(iter(study.queue.claim(AGENT, worker, n=1, alone=alone)), None)


def epoch(number: int, accuracy: float, **others: float) -> EpochMetrics:
    return EpochMetrics(number, {"val_accuracy": accuracy, **others}, 1_700_000_000.0 + number)


def reports(*accuracies: float) -> Body:
    """A training that measures these after epoch 1, 2, ..."""

    def body(claim: RunningTrial) -> None:
        for number, accuracy in enumerate(accuracies, start=1):
            claim.report(epoch(number, accuracy))

    return body


def raises(error: BaseException) -> Body:
    def body(claim: RunningTrial) -> None:
        raise error

    return body


PRUNED = raises(TrialPruned("by hand"))


def run_trial(
    study: SweepStudy,
    body: Body,
    *,
    owner: str = "worker",
    is_stopping: Callable[[], bool] = lambda: False,
) -> TrialState:
    """Claim a trial, draw, start and conclude it as a worker does."""
    trial = claim_trial(study, owner)
    assert trial is not None, "no trial waits"
    return run_claimed(study, trial, body, is_stopping=is_stopping)


def run_claimed(
    study: SweepStudy,
    trial: FrozenTrial,
    body: Body,
    *,
    is_stopping: Callable[[], bool] = lambda: False,
    ledger: TimeLedger | None = None,
    transfer: TrialTransfer | None = None,
) -> TrialState:
    """As :func:`run_trial`, for a trial in state RUNNING."""
    booked = ledger or TimeLedger()
    with RunningTrial(
        study, trial, is_stopping=is_stopping, ledger=booked, transfer=transfer
    ) as held:

        def whole() -> Iterator[None]:
            held.draw()
            held.start(None, None, params={}, tags={})
            body(held)
            yield

        return conclude(held, whole())


def run_all(study: SweepStudy, body: Body) -> None:
    """Run trials until the goal is reached."""
    while study.n_finished() < study.goal:
        run_trial(study, body)


def in_processes(n: int, target: Callable[..., None], *args: Any) -> None:
    """Run ``target(i, *args)`` in ``n`` processes at once; all must end well."""
    processes = [FORKS.Process(target=target, args=(i, *args)) for i in range(n)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * n


def killed(target: Callable[..., None], *args: Any) -> None:
    """Run ``target(*args)`` in a process that must end by SIGKILL."""
    process = FORKS.Process(target=target, args=args)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def claim_and_die(folder: Path, changes: dict[str, Any], owner: str, n_epochs: int = 1) -> None:
    """A worker that is killed in the middle of a trial, after ``n_epochs``."""
    study = begin(folder, **changes)
    Presence(study.paths.presence_dir, owner)

    def body(claim: RunningTrial) -> None:
        reports(*[0.5] * n_epochs)(claim)
        os.kill(os.getpid(), signal.SIGKILL)

    run_trial(study, body, owner=owner)


def numbers(trials: Iterable[Any]) -> list[int]:
    return [trial.number for trial in trials]


def log(study: SweepStudy, number: int = 0) -> Sequence[Event]:
    """The events of a trial."""
    return read_events(study.paths.events(number))[0]


def kinds(study: SweepStudy, number: int = 0) -> list[str]:
    """Their types."""
    return [type(event).__name__ for event in log(study, number)]


def last_outcome(study: SweepStudy) -> Outcome:
    """How trial 0 ended, as its log has it."""
    last = log(study)[-1]
    assert isinstance(last, Ended)
    return last.outcome


def put_checkpoint(study: SweepStudy) -> Path:
    """A checkpoint of trial 0."""
    path = study.paths.checkpoint(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"weights")
    return path
