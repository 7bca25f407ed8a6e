"""Logged models of texts take them as a person writes them."""

import warnings
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import torch

from sweeper.config.settings import DataConfig, ModelConfig
from sweeper.data.dataset import TrialData, load_data
from sweeper.models.build import build_for
from sweeper.tracking.exported import save_exported
from sweeper.trial import DataInfo, Tokens
from tests.support.table_files import write_table
from tests.support.tracked_study import Store, complete_trial

ROWS = ["Where IS my card?", "my card is gone", "what is a rate", "a rate, again: what?"] * 5
#: By their length in words, and in parts of them: validation rows come in this order.
HELD_OUT = ["gone", "What IS", "my zebra card", "a " * 40 + "rate"]


@pytest.fixture(autouse=True)
def _same_store_for_pyfunc(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)


def load(folder: Path, tokenizer: str) -> TrialData:
    for name, rows in (("rows.csv", ROWS), ("held_out.csv", HELD_OUT)):
        intents = [["card", "card", "rate", "rate"][row % 4] for row in range(len(rows))]
        write_table(folder / name, {"text": rows, "intent": intents})
    return load_data(
        DataConfig(
            name="text",
            validation={"path": str(folder / "held_out.csv")},  # type: ignore[arg-type]
            params={
                "path": str(folder / "rows.csv"),
                "column": "text",
                "target": "intent",
                "max_length": 8,
                "tokenizer": tokenizer,
            },
        ),
        cache_dir=folder / "cache",
        seed=0,
        device=torch.device("cpu"),
        resident_bytes=2**30,
    )


@pytest.mark.parametrize(
    ("architecture", "tokenizer"),
    [
        ("bag", "words"),
        pytest.param("rnn", "words", marks=pytest.mark.gate),
        pytest.param("transformer", "words", marks=pytest.mark.gate),
        pytest.param(
            "bag",
            "bpe",
            marks=[
                pytest.mark.gate,
                pytest.mark.skipif(
                    find_spec("tokenizers") is None, reason="tokenizers is not installed"
                ),
            ],
        ),
    ],
)
def test_a_model_of_texts_answers_chances_by_the_names_of_classes(
    store: Store,
    tmp_path_factory: pytest.TempPathFactory,
    architecture: str,
    tokenizer: str,
) -> None:
    data = load(tmp_path_factory.mktemp("data"), tokenizer)
    assert data.preprocessing is not None
    path = store.paths.preprocessing(data.preprocessing.digest)
    path.parent.mkdir(exist_ok=True)
    torch.save(data.preprocessing.state(), path)
    net = complete_trial(store, architecture, {"width": 8}, data=data.info)
    store.mirror(log_models="completed").send()
    run = store.trial()
    assert run.data.tags["sweeper.model"] == "pt2"
    model = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/{run.info.run_name}")
    assert model.metadata.signature.inputs.input_names() == ["text"]
    answers = model.predict(pd.DataFrame({"text": HELD_OUT}))
    assert list(answers) == ["card", "rate"]
    with torch.no_grad():
        outputs = [net(inputs).double().softmax(1) for inputs, _ in data.validation.batches(1)]
    found = torch.tensor(answers.to_numpy())
    torch.testing.assert_close(found, torch.cat(outputs), rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="column 'text': ' ' in row 2 is no text"):
        model.predict(pd.DataFrame({"text": ["my card", " "]}))


def test_torch_does_not_warn_of_what_recurrent_networks_keep() -> None:
    text = DataInfo("t", "0" * 16, (4,), 2, 9, 3, input_dtype="int64", tokens=Tokens(n_words=9))
    model = ModelConfig(architecture="rnn", params={"width": 2})
    with warnings.catch_warnings(record=True) as met:
        warnings.simplefilter("always")
        save_exported(build_for(model, text).eval(), torch.ones(3, 4).long(), BytesIO())
    assert not [each for each in met if "during export" in str(each.message)]
