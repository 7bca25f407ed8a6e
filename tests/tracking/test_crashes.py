"""A mirror is killed at each of its durable steps; the next one leaves everything as it should be.

The processes are forked from a server that has imported MLflow and torch once for all of them.
"""

import os
import signal
from pathlib import Path

import pytest
import torch

from sweeper.durable import CRASH_VARIABLE, Step
from sweeper.events import Interrupted
from sweeper.models.build import build_model
from sweeper.paths import RunPaths
from sweeper.tracking.mirror import Mirror
from sweeper.tracking.mirrored_study import LogModels, MirroredStudy
from sweeper.trial import TrialState
from tests.support.forks import FORKS
from tests.support.tracked_study import (
    ACCURACY,
    DATA,
    MODEL,
    SEARCHED,
    Store,
    ended,
    epoch,
    started,
)

#: What each stage of a mirror's life makes durable, in this order.
STAGES = {
    "open": (Step.MIRROR_RUN, Step.MIRROR_SEND),
    "send": (Step.MIRROR_RUN, Step.MIRROR_SEND, Step.MIRROR_END, Step.MIRROR_CURSOR),
    "finish": (Step.MIRROR_END,),
}

pytestmark = [pytest.mark.slow, pytest.mark.gate]


def work(root: Path, uri: str, log_models: LogModels, stage: str = "", point: str = "") -> None:
    """Send and finish the study; from ``stage`` on, die at ``point``."""
    mirror = Mirror(
        MirroredStudy(RunPaths(root, "digits"), uri, ACCURACY, SEARCHED, log_models), {}
    )

    def enter(name: str) -> None:
        if name == stage:
            (root / "crash").mkdir(exist_ok=True)
            (root / "crash" / point).touch()
            os.environ[CRASH_VARIABLE] = str(root / "crash")

    enter("open")
    mirror.open()
    enter("send")
    mirror.send()
    enter("finish")
    mirror.finish(
        goal_reached=True, best_trials=[0], counts={TrialState.COMPLETE: 1}, seconds={}, sampler={}
    )


def write_study(store: Store) -> None:
    """A complete trial that was interrupted once, and a pruned one."""
    store.append(0, started(), epoch(1, 0.5), epoch(2, 0.75), Interrupted(1_700_000_003, "stop"))
    store.append(0, started(resumed=1), epoch(3, 0.625))
    store.append(0, ended(TrialState.COMPLETE, epoch(2, 0.75)))
    store.append(1, started(), epoch(1, 0.25), ended(TrialState.PRUNED, epoch(1, 0.25)))


def killed_at(store: Store, stage: str, point: str, log_models: LogModels) -> None:
    child = FORKS.Process(
        target=work, args=(store.paths.root, store.uri, log_models, stage, point)
    )
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL, f"{point} was not reached in {stage}"


def assert_whole(store: Store) -> None:
    [parent] = store.runs("study")
    first, second = store.runs("trial")
    assert [run.info.status for run in (parent, first, second)] == [
        "FINISHED",
        "FINISHED",
        "FINISHED",
    ]
    assert store.curve(first, "val_accuracy") == [
        (1, 0.5, 1_700_000_001_000),
        (2, 0.75, 1_700_000_002_000),
        (3, 0.625, 1_700_000_003_000),
    ]
    assert [step for step, *_ in store.curve(first, "train_loss")] == [1, 2, 3]
    assert [step for step, *_ in store.curve(first, "best_val_accuracy")] == [1, 2]
    assert first.data.params == {"model.architecture": "mlp", "train.learning_rate": "0.01"}
    assert (first.data.tags["sweeper.resumed"], first.data.tags["sweeper.state"]) == (
        "1",
        "complete",
    )
    assert len(first.inputs.dataset_inputs) == 1
    assert parent.data.tags["sweeper.best_runs"] == first.info.run_id
    assert parent.data.metrics["best_val_accuracy"] == 0.75
    assert [file.path for file in store.client.list_artifacts(parent.info.run_id)] == [
        "study.yaml"
    ]
    assert store.mirror().send() == 0


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    ("stage", "step"), [(stage, step) for stage, steps in STAGES.items() for step in steps]
)
def test_the_next_mirror_leaves_everything_as_it_should_be(
    store: Store, stage: str, step: Step, moment: str
) -> None:
    write_study(store)
    killed_at(store, stage, f"{step}.{moment}", "none")
    work(store.paths.root, store.uri, "none")
    assert_whole(store)


def test_a_mirror_that_is_killed_again_and_again_gets_further_each_time(store: Store) -> None:
    write_study(store)
    for _ in range(3):  # the experiment, the parent, the first trial's run
        killed_at(store, "open", f"{Step.MIRROR_RUN}.after", "none")
    killed_at(store, "send", f"{Step.MIRROR_RUN}.after", "none")  # the second trial's
    killed_at(store, "send", f"{Step.MIRROR_CURSOR}.after", "none")
    work(store.paths.root, store.uri, "none")
    assert_whole(store)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_model_is_logged_once(store: Store, moment: str) -> None:
    write_study(store)
    net = build_model(MODEL.architecture, DATA.input_shape, DATA.n_outputs, **MODEL.params)
    torch.save(net.state_dict(), store.paths.model(0))
    killed_at(store, "send", f"{Step.MODEL_LOG}.{moment}", "completed")
    work(store.paths.root, store.uri, "completed")
    assert_whole(store)
    run = store.runs("trial")[0]
    [model] = store.client.search_logged_models([run.info.experiment_id])
    assert (model.source_run_id, model.status) == (run.info.run_id, "READY")
    assert run.data.tags["sweeper.model"] == "pt2"
