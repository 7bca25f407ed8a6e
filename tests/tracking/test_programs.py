"""A model that a training function logged is MLflow's, where neither its code nor sweeper is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sweeper.events import ModelLogged, TensorForm
from sweeper.training.user_model import keep_model
from sweeper.trial import TrialState
from tests.support.served_models import run_elsewhere
from tests.support.tracked_study import (
    START_S,
    Store,
    ended,
    epoch,
    logged_models,
    started,
)

LOAD = """
import json, sys, mlflow, numpy as np, torch
mlflow.set_tracking_uri(sys.argv[1])
listed = lambda a: a.tolist() if hasattr(a, "tolist") else {k: v.tolist() for k, v in a.items()}
found = []
for model, file in zip(sys.argv[2::2], sys.argv[3::2]):
    rows = np.load(file)
    given = dict(rows) if len(rows.files) > 1 else rows["only"]
    program = mlflow.pytorch.load_model(model)
    tensors = [torch.from_numpy(rows[name]) for name in rows.files]
    answers = mlflow.pyfunc.load_model(model).predict(given)
    with torch.no_grad():
        raw = program(*tensors)
    found.append([listed(answers), listed(raw)])
print(json.dumps(found))
"""


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag(50, 6)
        self.last = nn.Linear(6, 2)

    def forward(self, input_ids: Tensor, scale: Tensor) -> dict[str, Tensor]:
        states = self.embedding(input_ids)
        return {"logits": self.last(states) * scale, "pooled": states}


def complete(
    store: Store, module: nn.Module, example: Any, *, number: int = 0, state: TrialState
) -> None:
    """A trial whose function logged that model."""
    paths = store.paths
    paths.trial_dir(number).mkdir(parents=True)
    event = keep_model(
        module,
        example,
        program=paths.exported_model(number),
        weights=paths.model(number),
        time_s=START_S,
        note=lambda text: None,
    )
    begun = started()
    store.append(number, type(begun)(begun.time_s, 0, begun.params, begun.tags, None, None))
    store.append(number, epoch(1, 0.5), event, ended(state, epoch(1, 0.5)))


@pytest.mark.gate  # a process that imports torch and MLflow anew
def test_it_answers_what_the_module_does_for_any_number_of_rows(
    store: Store, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    nets = [
        nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3)),
        Words(),
    ]
    rows = {"input_ids": torch.randint(50, (2, 5)), "scale": torch.rand(2, 1)}
    more = {name: tensor.repeat(3, 1) for name, tensor in rows.items()}
    asked = [{"only": torch.randn(5, 4)}, more]
    files = []
    for number, (net, example) in enumerate(zip(nets, (torch.randn(1, 4), rows), strict=True)):
        complete(store, net, example, number=number, state=TrialState.COMPLETE)
        file = tmp_path / "mlruns" / f"{number}.npz"
        arrays: dict[str, Any] = {name: each.numpy() for name, each in asked[number].items()}
        np.savez(file, **arrays)
        files.append(str(file))
    store.mirror(log_models="completed").send()
    model_of = {model.source_run_id: f"models:/{model.model_id}" for model in logged_models(store)}
    models = [model_of[run.info.run_id] for run in store.runs("trial")]
    given = [word for pair in zip(models, files, strict=True) for word in pair]
    by_rows, by_name = run_elsewhere(tmp_path / "mlruns", LOAD, store.uri, *given)
    expected = nets[0].eval()(asked[0]["only"])
    for found in by_rows:
        torch.testing.assert_close(torch.tensor(found), expected)
    for name, tensor in nets[1].eval()(**more).items():
        for found in by_name:
            torch.testing.assert_close(torch.tensor(found[name]), tensor)


def test_it_says_of_which_trial_it_is_and_is_logged_once(store: Store) -> None:
    complete(store, nn.Linear(4, 3), torch.ones(2, 4), state=TrialState.COMPLETE)
    store.mirror(log_models="completed").send()
    [model] = logged_models(store)
    assert {metric.key: metric.value for metric in model.metrics}["val_accuracy"] == 0.5
    assert model.params == {"train.learning_rate": "0.01", "model.architecture": "mlp"}
    assert store.trial().data.tags["sweeper.model"] == "pt2"
    store.mirror(log_models="completed").forget(0)
    store.mirror(log_models="completed").send()
    assert [again.model_id for again in logged_models(store)] == [model.model_id]


def test_the_state_dict_of_what_cannot_be_exported_goes_to_the_run(store: Store) -> None:
    complete(store, nn.Linear(4, 3), None, state=TrialState.COMPLETE)
    store.mirror(log_models="completed").send()
    run = store.trial()
    files = [file.path for file in store.client.list_artifacts(run.info.run_id, "weights")]
    assert files == ["weights/model.pt", "weights/reference.json"]
    assert run.data.tags["sweeper.model"] == "state_dict"
    assert logged_models(store) == []


def test_no_model_is_logged_of_a_trial_that_is_not_complete(store: Store) -> None:
    complete(store, nn.Linear(4, 3), torch.ones(2, 4), state=TrialState.PRUNED)
    store.mirror(log_models="completed").send()
    assert logged_models(store) == []
    assert store.trial().info.status == "FINISHED"


def test_of_what_mlflow_makes_no_model_the_file_is_sent_and_that_is_said(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.append(0, started(), epoch(1, 0.5))
    odd = TensorForm("", "no-such-dtype", (4,))
    store.append(0, ModelLogged(START_S, "pt2", "own.Net", (odd,), (odd,)))
    store.append(0, ended(TrialState.COMPLETE, epoch(1, 0.5)))
    store.paths.exported_model(0).write_bytes(b"program")
    store.mirror(log_models="completed").send()
    assert "model.pt2: MLflow makes no model of it (" in caplog.text
    files = store.client.list_artifacts(store.trial().info.run_id, "weights")
    assert [file.path for file in files] == ["weights/model.pt2", "weights/reference.json"]
    assert store.trial().info.status == "FINISHED"
