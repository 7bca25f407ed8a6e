from pathlib import Path

import pytest
import torch

from sweeper.errors import TrainingError
from sweeper.integrations.reports import Reports, numbers_of, require_device
from sweeper.trial import Objective
from tests.support.recorder import Recorder
from tests.support.user_trials import user_trial

LOSS = Objective(("loss",), ("minimize",))


def reports(folder: Path, recorder: Recorder) -> Reports:
    return Reports(user_trial(folder, recorder, LOSS), callback="Callback", naming="log it")


def test_each_validation_is_told_once_and_its_plan_before_the_first(tmp_path: Path) -> None:
    recorder = Recorder()
    told = reports(tmp_path, recorder)
    told.plan(None)
    told.plan(3)
    validations = [{"loss": 0.5}, {"loss": 0.25, "more": 1.0}]
    told.tell(validations)
    told.plan(3)
    validations.append({"loss": 0.125})
    told.tell(validations)
    told.tell(validations)
    assert recorder.n_epochs == 3
    assert recorder.heard == [1, 2, 3]
    assert recorder.values() == validations


def test_an_objective_that_nothing_measures_is_named_with_what_is_measured(
    tmp_path: Path,
) -> None:
    with pytest.raises(TrainingError) as caught:
        reports(tmp_path, Recorder()).tell([{"val_loss": 1.0, "rate": 0.1}])
    assert str(caught.value) == (
        "Callback: validation 1 measured rate, val_loss, but not the objective's loss; name one "
        "of these as objective.metric, or log it"
    )


def test_what_is_one_number_is_told() -> None:
    metrics = {
        "loss": torch.tensor([0.5]),
        "n": 3,
        "epoch": 1.0,
        "step": 7,
        "flag": True,
        "text": "x",
        "row": torch.zeros(2),
        "gap": None,
        "wave": torch.tensor(1j),
    }
    assert numbers_of(metrics) == {"loss": 0.5, "n": 3.0}


@pytest.mark.parametrize(
    ("found", "wanted", "is_refused"),
    [
        ("cpu", "cpu", False),
        ("cuda", "cuda:0", False),
        ("cuda:0", "cuda:1", True),
        ("cpu", "cuda:0", True),
    ],
)
def test_a_trainer_on_the_device_of_another_trial_is_refused(
    tmp_path: Path, found: str, wanted: str, is_refused: bool
) -> None:
    trial = user_trial(tmp_path, Recorder(), device=wanted)
    words = {"callback": "Callback", "way_out": "move it"}
    if not is_refused:
        require_device(trial, torch.device(found), **words)
        return
    with pytest.raises(TrainingError) as caught:
        require_device(trial, torch.device(found), **words)
    assert str(caught.value) == (
        f"Callback: the Trainer computes on {found}, the trial's device is {wanted}; move it"
    )
