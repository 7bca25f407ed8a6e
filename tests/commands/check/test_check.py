"""``check`` says before any trial what could not be drawn, built or opened."""

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from sweeper.commands.check import precision
from sweeper.commands.check.check import check_study
from sweeper.config.reader import parse_study
from sweeper.errors import (
    DataError,
    SpecError,
    StudyError,
    SweeperError,
    TrackerError,
    TrainingError,
)
from sweeper.paths import RunPaths
from sweeper.study.create import create_study
from sweeper.workers.devices import known_precisions
from tests.support.picture_files import write_pictures
from tests.support.sweep_studies import plain_study, spec_of
from tests.support.table_files import write_table
from tests.support.wav_files import tone, write_wav


@pytest.fixture(autouse=True)
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """One update a turn, as no test is about how long they take."""
    monkeypatch.setattr(precision, "_TURN_S", 0.0)


def checked(folder: Path, **changes: Any) -> list[str]:
    return list(check_study(spec_of(folder, **changes), folder / "mlruns", print))


def refusal(folder: Path, kind: type[SweeperError], **changes: Any) -> str:
    """What is said against the study, without its line."""
    with pytest.raises(kind) as caught:
        checked(folder, **changes)
    file, _, message = str(caught.value).split(":", 2)
    assert file == f"{folder}/small.yaml"
    return message.strip()


def test_what_there_is_one_of_is_said_so(tmp_path: Path) -> None:
    changes = {"budget": {"trials": 1}, "run": {"workers": 1, "device": "cpu"}}
    lines = checked(tmp_path, **changes)
    assert lines[0] == f"{tmp_path}/small.yaml: study small, 1 trial, 1 range"
    assert re.fullmatch(r"1 worker on cpu, \d+ threads? each", lines[3])


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ({"lanes": 4}, "; 4 trials at once in each"),
        ({"lanes": 4, "pack": 2}, "; 4 trials at once in each, up to 2 of them as one"),
        ({"lanes": 2, "pack": 8}, "; 8 trials at once in each, up to 8 of them as one"),
    ],
)
def test_how_many_trials_a_worker_trains_is_said(
    tmp_path: Path, run: dict[str, Any], said: str
) -> None:
    line = checked(tmp_path, run={"workers": 1, "device": "cpu", **run})[3]
    assert line.endswith(f" each{said}")


def test_each_architecture_runs_a_batch_and_its_largest_model_is_measured(tmp_path: Path) -> None:
    choices = {"mlp": {"width": {"choices": [8, 64, 16]}}, "cnn": {"depth": 1, "channels": 2}}
    lines = checked(tmp_path, model={"architecture": {"choices": choices}})
    assert lines[2] == "pruner none: nothing is pruned"
    timings = ("an update of ", "proposed: ")  # only where there is more than one precision
    first, largest, other = (line for line in lines[4:-1] if not line.startswith(timings))
    # 64 pixels, two hidden layers, 10 classes.
    assert f"mlp with {64 * 8 + 8 + 8 * 8 + 8 + 8 * 10 + 10} weights, first batch of 64" in first
    n_weights = 64 * 64 + 64 + 64 * 64 + 64 + 64 * 10 + 10
    assert largest.startswith(f"largest mlp: {n_weights:,} weights, 0.1 MiB with")
    assert "cnn with 350 weights" in other  # 2 filters of 3 x 3 with bias; 2 x 4 x 4 -> 10
    assert lines[-1] == f"ready: sweeper run {tmp_path}/small.yaml"


def test_a_first_batch_that_has_no_finite_loss_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net_without_loss.py").write_text(
        "from torch import nn\n"
        "def build(input_shape, n_outputs):\n"
        "    net = nn.Sequential(nn.Flatten(), nn.Linear(64, n_outputs))\n"
        "    nn.init.constant_(net[1].bias, float('nan'))\n"
        "    return net\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    lines = checked(tmp_path, model={"architecture": "net_without_loss:build"})
    assert any(line.endswith("; its loss is nan, and such a trial diverges") for line in lines)


def test_what_a_run_would_refuse_to_go_on_with_is_not_ready(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    paths = RunPaths(tmp_path / "mlruns", spec.name)
    create_study(spec, paths)
    paths.resolved_spec.touch()
    assert checked(tmp_path, budget={"trials": 11})[-1].startswith("ready: ")
    with pytest.raises(StudyError, match=r"(?s)the search has changed.*train.epochs: was 3, is 4"):
        checked(tmp_path, train={**plain_study()["train"], "epochs": 4})


def test_a_folder_that_a_run_could_not_write_is_not_ready(tmp_path: Path) -> None:
    checked(tmp_path)  # the data lie in the cache from now on
    (tmp_path / "mlruns/studies").touch()  # as a disk that is read-only, which root could write to
    with pytest.raises(StudyError) as caught:
        checked(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/mlruns/studies/small/study.lock: a run writes it, and "
        f"{tmp_path}/mlruns/studies is no folder that may be written to; see that you may write "
        "there, or start the study in a folder where you may"
    )


needs_bf16 = pytest.mark.skipif(
    "bf16" not in known_precisions("cpu"), reason="this processor has no units for bf16"
)


@needs_bf16
def test_every_precision_of_the_device_is_timed_the_studys_first(tmp_path: Path) -> None:
    for own, other in (("fp32", "bf16"), ("bf16", "fp32")):
        lines = checked(tmp_path, run={"device": "cpu", "precision": own})
        (told,) = (line for line in lines if line.startswith("an update of "))
        pattern = rf"an update of mlp on cpu takes [\d.]+ ms in {own}, [\d.]+ ms in {other}"
        assert re.fullmatch(pattern, told)


@needs_bf16
def test_a_precision_that_a_model_cannot_take_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "fp32_alone.py").write_text(
        "import torch\n"
        "class Alone(torch.nn.Linear):\n"
        "    def forward(self, inputs):\n"
        "        assert not torch.is_autocast_enabled('cpu')\n"
        "        return super().forward(inputs.flatten(1))\n"
        "def build(shape, n_outputs):\n"
        "    return Alone(64, n_outputs)\n"
    )
    model = {"architecture": "fp32_alone:build"}
    lines = checked(tmp_path, run={"device": "cpu"}, model=model)
    sys.modules.pop("fp32_alone")
    (told,) = (line for line in lines if line.startswith("an update of "))
    assert told.endswith(" ms in fp32")
    assert not any(line.startswith("proposed: ") for line in lines)


def test_a_range_whose_upper_end_cannot_be_built_is_refused(tmp_path: Path) -> None:
    model = {"architecture": "cnn", "depth": {"low": 1, "high": 4}}
    assert refusal(tmp_path, SweeperError, model=model) == (
        "model.architecture: cnn: each block halves the image, so 8 x 8 allows a depth of at most "
        "3, got depth=4; lower it or enlarge the images; tried with model.depth=4"
    )


def test_what_is_forbidden_need_not_be_buildable(tmp_path: Path) -> None:
    model = {"architecture": "cnn", "depth": {"choices": [1, 4]}}
    lines = checked(tmp_path, model=model, forbid=[{"model.depth": 4}])
    assert lines[-1].startswith("ready: ")


def test_a_search_that_forbids_everything_is_refused(tmp_path: Path) -> None:
    model = {"architecture": "mlp", "activation": {"choices": ["relu", "tanh"]}}
    forbid = [{"model.activation": "relu"}, {"model.activation": "tanh"}]
    assert refusal(tmp_path, SpecError, model=model, forbid=forbid) == (
        "forbid: leaves nothing to draw; loosen it"
    )
    train = {"epochs": {"low": 1, "high": 3}}
    grid = {"sampler": {"name": "grid"}, "train": train}
    assert refusal(tmp_path, SpecError, model=model, forbid=forbid, **grid) == (
        "forbid: leaves nothing to draw; loosen it"
    )


def test_a_search_of_which_hardly_anything_is_left_is_not_refused(tmp_path: Path) -> None:
    model = {"architecture": "mlp", "width": {"low": 1, "high": 9}, "depth": {"low": 0, "high": 9}}
    forbid = [{"model.width": width} for width in range(1, 9)]
    forbid += [{"model.width": 9, "model.depth": depth} for depth in range(9)]
    lines = checked(tmp_path, model=model, forbid=forbid, train={"epochs": 1})
    assert lines[1] == (
        "the space has 1 setting, so the goal is not 10 trials; "
        "`sampler: {duplicates: reseed}` tries settings again, with other seeds"
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"budget": {"trials": 5}}, ["the space has 6 settings"]),
        ({"budget": {"trials": 6}}, ["the space has 6 settings"]),
        ({"budget": {}}, ["the space has 6 settings"]),
        ({"sampler": {"duplicates": "reseed"}}, ["the space has 6 settings"]),
        (
            {"budget": {"trials": 7}},
            [
                "the space has 6 settings, so the goal is not 7 trials; "
                "`sampler: {duplicates: reseed}` tries settings again, with other seeds"
            ],
        ),
        ({"train": {"epochs": 1, "l1": {"low": 0.0, "high": 1.0}}}, []),
        ({"train": {"epochs": {"low": 1, "high": 10**9}}}, []),
        ({"model": {"architecture": "mlp"}, "budget": {}}, []),
    ],
)
def test_settings_are_told_if_they_are_few(
    tmp_path: Path, changes: dict[str, Any], told: list[str]
) -> None:
    model = {"architecture": "mlp", "width": {"choices": [8, 16]}, "depth": {"low": 0, "high": 2}}
    lines = checked(tmp_path, **{"model": model, "train": {"epochs": 1}, **changes})
    assert [line for line in lines if line.startswith("the space")] == told


def test_a_grid_that_nobody_can_count_is_refused(tmp_path: Path) -> None:
    train = {"epochs": {"low": 1, "high": 10**12}}
    assert refusal(tmp_path, SpecError, sampler={"name": "grid"}, train=train) == (
        "sampler.name: the grid has more than 100,000 points; make it coarser, or draw from it "
        "with `sampler: {name: random}`"
    )


def test_an_odd_row_of_the_users_data_is_named(tmp_path: Path) -> None:
    (tmp_path / "ragged_rows.py").write_text(
        "import torch\n"
        "class Ragged(torch.utils.data.Dataset):\n"
        "    targets = [0, 1] * 5\n"
        "    def __len__(self):\n"
        "        return 10\n"
        "    def __getitem__(self, row):\n"
        "        return torch.zeros(3 + (row == 7)), row % 2\n"
        "def load():\n"
        "    return Ragged(), None\n"
    )
    message = refusal(tmp_path, DataError, data={"name": "ragged_rows:load"})
    sys.modules.pop("ragged_rows")
    assert message == (
        "data.name: ragged_rows:load: train: row 7 of Ragged has the shape (4,), row 0 (3,); "
        "wanted is one shape for all: resize, crop or pad them"
    )


@pytest.mark.skipif(
    importlib.util.find_spec("psycopg2") is not None, reason="needs a driver that is absent"
)
def test_a_driver_that_is_not_installed_is_named_with_the_way_out(tmp_path: Path) -> None:
    url = "postgresql+psycopg2://ann:hunter2@host/db"
    assert refusal(tmp_path, StudyError, storage=url) == (
        "storage: the driver 'psycopg2' is not installed: `pip install 'sweeper[postgres]'` and "
        "write postgresql+psycopg://..., or set `storage: auto` for a journal file"
    )


def test_the_folder_of_a_database_must_be_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/absent/sweep.db"
    assert refusal(tmp_path, StudyError, storage=url) == (
        f"storage: there is no folder {tmp_path}/absent; make it first"
    )


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("gopher://bucket/a", "no driver for gopher:// is installed: Protocol not known: gopher"),
        (
            "abfs://bucket/a",
            "no driver for abfs:// is installed: Install adlfs to access Azure Datalake Gen2 and "
            "Azure Blob Storage",
        ),
    ],
)
def test_an_object_store_without_a_driver_stops_the_study(
    url: str, expected: str, tmp_path: Path
) -> None:
    assert (
        refusal(tmp_path, StudyError, run={"object_store": url})
        == f"run.object_store: {url}: {expected}"
    )


def test_s3_without_its_driver_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)  # as if it were not installed
    known = importlib.import_module("fsspec.registry")._registry
    monkeypatch.delitem(known, "s3", raising=False)
    assert refusal(tmp_path, StudyError, run={"object_store": "s3://bucket"}) == (
        "run.object_store: s3://bucket: no driver for s3:// is installed: "
        "`pip install 'sweeper[s3]'`"
    )


def test_an_object_store_that_takes_nothing_stops_the_study(tmp_path: Path) -> None:
    (tmp_path / "object_store").write_text("no folder")
    message = refusal(
        tmp_path, StudyError, run={"object_store": f"file://{tmp_path}/object_store"}
    )
    assert message.startswith(
        f"run.object_store: file://{tmp_path}/object_store: the object store cannot be used: "
    )
    assert message.endswith(
        "; see that the bucket or folder is there and the environment has what its driver needs, "
        "or leave run.object_store out"
    )


def test_a_name_leaves_room_for_what_a_fallback_adds(tmp_path: Path) -> None:
    data = {"name": "mnist", "fallback": "digits"}
    message = refusal(tmp_path, SpecError, name="x" * 91, data=data)
    assert message.startswith("name: with data.fallback, -on-digits may be added, and a name must")


def test_an_address_of_the_environment_is_held_to_the_same_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:hunter/2@host")
    with pytest.raises(TrackerError) as caught:
        checked(tmp_path)
    assert str(caught.value).startswith("$MLFLOW_TRACKING_URI: is no URL of the form http://host")
    assert "hunter" not in str(caught.value)


ROWS = "size,town,kind\n" + "".join(
    f"{row},{'Ulm' if row % 3 else ''},{'xy'[row % 2]}\n" for row in range(20)
)


def test_what_was_inferred_of_texts_is_told_once_for_all_architectures(tmp_path: Path) -> None:
    columns = {"text": ["so so", "no", "ja so", "no no"] * 5, "kind": ["a", "b"] * 10}
    write_table(tmp_path / "rows.csv", columns)
    data = {
        "name": "text", "path": str(tmp_path / "rows.csv"), "column": "text", "target": "kind",
    }  # fmt: skip
    model = {"architecture": {"choices": ["bag", "rnn", "transformer"]}, "width": 4}
    lines = [line for line in checked(tmp_path, data=data, model=model) if "word" in line]
    assert lines == [
        "rows: texts of 2 words in the median (column text; the longest has 2 words), 0 of them "
        "cut at max_length 64; a vocabulary of 3 words, which lacks 0 of the validation rows' "
        "words"
    ]


@pytest.mark.parametrize(
    ("architecture", "name", "message"),
    [
        ("mlp", "text", "mlp takes a table, images, numbers, and rows is text; take bag, rnn, "
         "transformer, or a model of your own"),
        ("bag", "table", "bag takes text, and rows is a table; take mlp, or a model of your own"),
    ],
)  # fmt: skip
def test_an_architecture_that_cannot_take_the_data_is_refused_before_any_trial(
    tmp_path: Path, architecture: str, name: str, message: str
) -> None:
    columns = {"text": ["so so", "no", "ja so", "no no"] * 5, "kind": ["a", "b"] * 10}
    write_table(tmp_path / "rows.csv", columns)
    data = {"name": name, "path": str(tmp_path / "rows.csv"), "target": "kind"}
    data |= {"column": "text"} if name == "text" else {}
    with pytest.raises(DataError) as caught:
        checked(tmp_path, data=data, model={"architecture": architecture})
    assert str(caught.value).endswith(f"model.architecture: {message}")


def test_what_was_inferred_of_a_table_is_told(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(ROWS)
    data = {"name": "table", "path": str(tmp_path / "rows.csv"), "target": "kind"}
    lines = checked(tmp_path, data=data)
    at = next(i for i, line in enumerate(lines) if line.startswith("rows: "))
    assert lines[at : at + 2] == [
        "rows: 1 number (size), 1 category (town of 1 word), no value (town in 7 rows)",
        "target kind: classification, 2 classes (x in 10 rows, y in 10 rows); the commonest alone "
        "reaches val_accuracy 0.5",
    ]
    assert lines[at + 2].startswith("rows 2, classification with 2 outputs, 18 + 2 rows")


def checked_page(page: str, file: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[str]:
    """What is said of the one study of a page, saved as a file in the folder of its data."""
    path = Path(__file__).parents[3] / "docs" / f"{page}.md"
    [text] = re.findall(r"```yaml\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(folder)
    return list(check_study(parse_study(text, Path(file)), Path("mlruns"), print))


def test_the_study_of_the_page_on_tables_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [f"{row},s{row % 9},{row * 1.5},{'abc'[row % 3]}\n" for row in range(90)]
    (tmp_path / "houses.csv").write_text("id,street,price,size\n" + "".join(rows))
    lines = checked_page("tables", "houses.yaml", monkeypatch, tmp_path)
    assert lines[-1] == "ready: sweeper run houses.yaml"


def test_the_study_of_the_page_on_texts_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = ["train", "val", "test"]
    rows = [
        f"ask {'abc'[row % 3]} of {row},{'abc'[row % 3]},{parts[row // 5 % 3]}\n"
        for row in range(90)
    ]
    (tmp_path / "intents.csv").write_text("text,intent,split\n" + "".join(rows))
    lines = checked_page("text", "intents.yaml", monkeypatch, tmp_path)
    assert lines[-1] == "ready: sweeper run intents.yaml"


def test_the_study_of_the_page_on_audio_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for row in range(20):
        name = f"{row % 2}_{['ann', 'ben', 'cleo', 'dan', 'eve'][row // 4]}_{row}.wav"
        write_wav(tmp_path / "recordings" / name, tone(400 + 800 * (row % 2), 0.1))
    lines = checked_page("audio", "digits.yaml", monkeypatch, tmp_path)
    assert "parted by speaker: 4 groups to train on, 1 to validate on" in lines
    assert lines[-1] == "ready: sweeper run digits.yaml"


def test_what_is_wrong_with_a_table_is_told_at_its_key(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(ROWS)
    data = {"name": "table", "path": str(tmp_path / "rows.csv"), "target": "kin"}
    assert refusal(tmp_path, DataError, data=data) == (
        f"data.target: {tmp_path}/rows.csv has no column 'kin'; did you mean 'kind'?"
    )
    data |= {"target": "town"}
    assert refusal(tmp_path, DataError, data=data) == (
        f"data.name: {tmp_path}/rows.csv: row 1: column 'town', the target, has no value, and 6 "
        "more rows have none; drop such rows"
    )


def test_a_message_stands_at_the_key_that_it_is_about(tmp_path: Path) -> None:
    train = {"loss": "mse", "epochs": 1}
    assert refusal(tmp_path, TrainingError, train=train) == (
        "train.loss: mse is no loss of classification, which digits is; take cross_entropy, or "
        "package.module:function"
    )
    found = refusal(tmp_path, TrainingError, objective={"metric": "val_rmse"})
    assert found.startswith(
        "objective.metric: nobody measures val_rmse: the task of digits is classification"
    )


def test_a_program_is_tried_and_what_it_says_is_told_at_its_place(tmp_path: Path) -> None:
    command = ["sh", "-c", "echo loss=$0", "${train.x}"]
    train = {"command": command, "x": {"choices": [1]}, "report": {"val_accuracy": "loss=(.*)"}}
    [line] = [each for each in checked(tmp_path, train=train) if each.startswith("train.command ")]
    assert line.startswith("train.command reported val_accuracy 1 in ")
    train["command"] = ["sh", "-c", "echo no such option; exit 2", "${train.x}"]
    assert refusal(tmp_path, TrainingError, train=train) == (
        "train.command: sh ended with exit code 2: no such option; tried with train.x=1"
    )
    train["command"] = ["sh", "-c", "echo loss=low", "${train.x}"]
    assert refusal(tmp_path, TrainingError, train=train) == (
        "train.report.val_accuracy: 'loss=(.*)' finds 'low', which is no number, in the line "
        "'loss=low'; let its group hold the number alone; tried with train.x=1"
    )
    train["command"] = ["pyton", "${train.x}"]
    assert refusal(tmp_path, TrainingError, train=train) == (
        "train.command: there is no program 'pyton' in $PATH; is its environment active?; tried "
        "with train.x=1"
    )


def test_a_loss_of_the_users_own_is_called_wherever_in_a_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loss_of_odd_shape.py").write_text(
        "def loss(outputs, targets):\n    return outputs - targets\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    train = {"loss": {"choices": ["cross_entropy", "loss_of_odd_shape:loss"]}}
    assert refusal(tmp_path, TrainingError, train=train).startswith(
        "train.loss: loss_of_odd_shape:loss raised RuntimeError: The size of tensor a (10) must "
    )


METRICS = """
def counted(outputs, targets):
    return {"val_rows": len(targets)}

def plain(outputs, targets):
    return 0.5

def raises(outputs, targets):
    raise ValueError("only one class")
"""


def test_the_objective_is_one_of_what_the_users_own_metrics_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "checked_metrics.py").write_text(METRICS)
    monkeypatch.syspath_prepend(tmp_path)
    train = {"metrics": "checked_metrics:counted"}
    ready = checked(
        tmp_path, train=train, objective={"metric": "val_rows", "direction": "maximize"}
    )
    assert ready[-1].startswith("ready: ")
    objective = {"metric": "val_columns", "direction": "maximize"}
    assert refusal(tmp_path, TrainingError, train=train, objective=objective) == (
        "objective.metric: nobody measures val_columns: the task of digits is classification, "
        "with 10 outputs; take train_loss, val_loss, val_accuracy, val_f1, learning_rate, "
        "epoch_seconds, val_rows, or state data.task"
    )
    assert refusal(tmp_path, TrainingError, train={"metrics": "checked_metrics:plain"}) == (
        "train.metrics: checked_metrics:plain must return a mapping of names to numbers, got float"
    )


def test_what_the_users_own_metrics_raise_of_some_rows_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "raising_metrics.py").write_text(METRICS)
    monkeypatch.syspath_prepend(tmp_path)
    lines = checked(tmp_path, train={"metrics": "raising_metrics:raises"})
    assert (
        "train.metrics: raising_metrics:raises raised ValueError: only one class, given the first "
        "64 validation rows; so it may be for all of them"
    ) in lines
    assert lines[-1].startswith("ready: ")


def test_augmentation_that_means_nothing_for_the_data_is_refused_wherever_in_a_range(
    tmp_path: Path,
) -> None:
    (tmp_path / "rows.csv").write_text(ROWS)
    data = {"name": "table", "path": str(tmp_path / "rows.csv"), "target": "kind"}
    for flips in (True, {"choices": [False, True]}):
        found = refusal(tmp_path, TrainingError, data=data, train={"random_flip": flips})
        assert found.startswith(
            "train.random_flip: rows holds rows of a table with categories, which are not changed "
        )
    assert checked(tmp_path, train={"random_crop": {"low": 0, "high": 7}})
    assert refusal(tmp_path, TrainingError, train={"random_crop": {"low": 0, "high": 8}}) == (
        "train.random_crop: must be less than both sides of a picture, got 8 for 8 x 8, as some "
        "would be left without content; lower it"
    )


def test_the_study_of_the_page_on_pictures_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(tmp_path / "pets", size=(40, 48))
    lines = checked_page("images", "pets.yaml", monkeypatch, tmp_path)
    assert "pets: 20 pictures (RGB in 20), taken as coloured, 32 x 32" in lines
    assert lines[-1] == "ready: sweeper run pets.yaml"
