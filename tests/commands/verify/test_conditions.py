"""What a trial's record asks of the machine that trains it again."""

import socket
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

from sweeper.commands.verify.conditions import CannotVerifyError, Conditions, find_conditions
from sweeper.config.settings import CommandConfig, TrainConfig, TrialConfig
from sweeper.events import Started
from sweeper.paths import RunPaths
from sweeper.study.recorded_trial import RecordedTrial
from sweeper.trial import TrialState
from sweeper.workers.devices import Placement
from tests.support.sweep_studies import epoch, spec_of

TAGS = {
    "version.torch": version("torch"),
    "device": "cpu",
    "threads": "1",
    "host": socket.gethostname(),
    "precision": "fp32",
}
CONFIG = TrialConfig(params={}, data=None, model=None, train=TrainConfig(), seed=1)


def recorded(*tags: dict[str, str], **changes: Any) -> RecordedTrial:
    """A trial that ran in processes with these tags beside those of this machine."""
    starts = tuple(Started(0.0, n, {}, {**TAGS, **own}, None, None) for n, own in enumerate(tags))
    trial = RecordedTrial(3, TrialState.COMPLETE, CONFIG, starts, (epoch(1, 0.5),), ())
    return replace(trial, **changes)


def conditions(folder: Path, trial: RecordedTrial, code: str = "", **changes: Any) -> Conditions:
    return find_conditions(spec_of(folder, **changes), RunPaths(folder, "small"), trial, code)


def refusal(folder: Path, trial: RecordedTrial, code: str = "", **changes: Any) -> str:
    with pytest.raises(CannotVerifyError) as caught:
        conditions(folder, trial, code, **changes)
    return str(caught.value)


def test_on_the_same_machine_the_same_numbers_are_asked_for(tmp_path: Path) -> None:
    trial = recorded({"precision": "bf16"})
    assert conditions(tmp_path, trial) == Conditions(
        Placement("cpu", 1, 1), "bf16", (), is_own=False
    )


def test_what_trained_on_a_cpu_is_trained_there_whatever_the_file_says_now(tmp_path: Path) -> None:
    found = conditions(tmp_path, recorded({}), run={"device": "cuda"})
    assert found.placement.device == "cpu"


def test_before_the_precision_was_kept_it_is_that_of_the_file(tmp_path: Path) -> None:
    trial = recorded({})
    older = {name: value for name, value in TAGS.items() if name != "precision"}
    trial = replace(trial, starts=(replace(trial.starts[0], tags=older),))
    assert conditions(tmp_path, trial, run={"precision": "bf16"}).precision == "bf16"


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"host": "n7"}, "it ran on n7, whose processor may round differently"),
        (
            {"pack": "3"},
            "run.pack may have computed it together with others, which rounds differently",
        ),
        (
            {"threads": "64"},
            "it ran with 64 threads, and here with {here}, which add in another order",
        ),
    ],
)
def test_elsewhere_they_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tags: dict[str, str], reason: str
) -> None:
    monkeypatch.setenv("OMP_THREAD_LIMIT", "2")
    found = conditions(tmp_path, recorded(tags))
    assert found.loose == (reason.format(here=found.placement.n_threads),)


def test_as_many_threads_are_used_as_there_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_THREAD_LIMIT")
    found = conditions(tmp_path, recorded({"threads": "7"}))
    assert (found.placement.n_threads, found.loose) == (7, ())


def test_training_of_ones_own_promises_nothing(tmp_path: Path) -> None:
    config = replace(CONFIG, train=CommandConfig(command="python train.py"))
    found = conditions(tmp_path, recorded({}, config=config))
    assert found.loose == (
        "nothing says that your own training comes to the same numbers with the same seed",
    )


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (
            [{"version.torch": "1.9"}],
            f"it ran with torch 1.9, and here is torch {version('torch')}, which may compute "
            "other numbers: verify it where that one is installed",
        ),
        (
            [{"version.torch": "1.9"}, {}],
            "it was interrupted, and its processes had different values of the tag version.torch "
            f"(1.9, {version('torch')}), which no single one can have: verify another trial",
        ),
        (
            [{"device": "cpu"}, {"device": "mps"}],
            "it was interrupted, and ran on cpu and mps, which compute different numbers: verify "
            "another trial",
        ),
        (
            [{"code": "aaa", "git_commit": "c0ffee"}],
            "your own code has changed: it ran with version aaa, and here is bbb: check out "
            "commit c0ffee, then verify it",
        ),
        (
            [{"code": "aaa"}],
            "your own code has changed: it ran with version aaa, and here is bbb: bring that "
            "version back, then verify it",
        ),
        (
            [{"precision": "fp12", "code": "bbb"}],
            "its event log has a precision that is none, 'fp12'",
        ),
    ],
)
def test_what_cannot_be_had_here_is_said_with_the_way_out(
    tmp_path: Path, tags: list[dict[str, str]], message: str
) -> None:
    assert refusal(tmp_path, recorded(*tags), "bbb" if "code" in tags[0] else "") == message


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_device_that_is_not_here(tmp_path: Path) -> None:
    trial = recorded({"device": "cuda:0+1"})
    assert refusal(tmp_path, trial, run={"device": "auto"}) == (
        "it ran on cuda, and here trials run on cpu, which computes other numbers: verify it "
        "where there is such a device"
    )
    said = refusal(tmp_path, trial, run={"device": "cuda"})
    assert said.startswith("it ran on cuda, and here: ")
    assert "cuda is not there" in said


def test_a_log_that_lies_elsewhere(tmp_path: Path) -> None:
    assert refusal(tmp_path, recorded()) == (
        f"its event log, {tmp_path}/studies/small/trials/0003/events.jsonl, is not here, which "
        "alone has its curves and where it ran: verify it on the machine that trained it"
    )


def test_a_trial_without_a_report(tmp_path: Path) -> None:
    assert refusal(tmp_path, recorded({}, history=())) == (
        "it reported nothing, so there is nothing to compare"
    )
