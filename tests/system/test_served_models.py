"""The model of a study answers to what a person has, where sweeper is not installed."""

import math
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.picture_files import COLOURS, picture
from tests.support.served_models import ask, best_model, run_elsewhere, serving
from tests.support.sweep import Sweep
from tests.support.table_files import mixed_columns, write_table
from tests.support.wav_files import tone, write_wav

pytestmark = pytest.mark.slow

STUDY = """
objective: {{metric: {metric}}}
budget: {{trials: 2}}
data: {{{data}, path: rows.csv, validation: {{path: held_out.csv}}}}
model: {{{model}}}
train: {{epochs: 2, learning_rate: {{choices: [0.01, 0.003]}}}}
"""
#: The accuracy, or the RMSE, of a model on the rows of a file.
SCORE = """
import math, pathlib, sys, wave
import mlflow, numpy, pandas

def waveform(path):
    with wave.open(path) as file:
        return numpy.frombuffer(file.readframes(file.getnframes()), "<i2") / 2**15

model, target = mlflow.pyfunc.load_model(sys.argv[1]), sys.argv[2]
rows = pandas.read_csv("held_out.csv")
if "clip" in rows:
    rows["waveform"] = rows["clip"].map(waveform)
if "file" in rows:
    rows["picture"] = rows["file"].map(lambda path: pathlib.Path(path).read_bytes())
answers = model.predict(rows)
if target in answers:
    print(math.sqrt(((answers[target] - rows[target]) ** 2).mean()))
else:
    print(float((answers.idxmax(axis=1) == rows[target]).mean()))
try:
    import sweeper
except ImportError:
    sys.exit()
sys.exit("sweeper is there")
"""


def write_rows(folder: Path) -> Mapping[str, Any]:
    """The held-out rows have a word of their own."""
    write_table(folder / "rows.csv", mixed_columns(0, work="at sea", n_rows=200))
    write_table(folder / "held_out.csv", mixed_columns(1, work="in air", n_rows=99))
    return {"age": None, "pay": "2500", "sails": 1, "rich": 0, "cost": 1e5, "work": "in space"}


def write_texts(folder: Path) -> Mapping[str, Any]:
    random = np.random.default_rng(0)
    words = {"yes": ["good", "fine", "great"], "no": ["bad", "poor", "dull"]}
    for name, n_rows, more in (("rows", 90, ["film"]), ("held_out", 33, ["film", "unheard"])):
        said = [["no", "yes"][row % 2] for row in range(n_rows)]
        texts = [" ".join(random.choice([*words[word], *more], 4)) for word in said]
        write_table(folder / f"{name}.csv", {"text": texts, "lives": said})
    return {"text": "A good, unheard-of film!"}


def write_clips(folder: Path) -> Mapping[str, Any]:
    random = np.random.default_rng(0)
    for name, n_rows in (("rows", 40), ("held_out", 15)):
        clips = [f"{name}_{row}.wav" for row in range(n_rows)]
        for row, clip in enumerate(clips):
            heard = tone([400, 900][row % 2], random.uniform(0.1, 0.3))
            write_wav(folder / clip, heard + random.normal(0, 0.1, len(heard)))
        table = {"clip": clips, "lives": [["no", "yes"][row % 2] for row in range(n_rows)]}
        write_table(folder / f"{name}.csv", table)
    return {"waveform": tone(400, 0.2).tolist()}


def write_pictures(folder: Path) -> Mapping[str, Any]:
    for name, n_rows in (("rows", 40), ("held_out", 15)):
        files = [f"{name}_{row}.png" for row in range(n_rows)]
        for row, file in enumerate(files):
            picture(list(COLOURS)[row % 2], row, (12, 12 + row % 3)).save(folder / file)
        table = {"file": files, "lives": [["no", "yes"][row % 2] for row in range(n_rows)]}
        write_table(folder / f"{name}.csv", table)
    return {"picture": b64encode((folder / "rows_0.png").read_bytes()).decode()}


KINDS: Mapping[str, tuple[Callable[[Path], Mapping[str, Any]], str, str]] = {
    "table": (
        write_rows,
        "name: table, target: lives, scale: {choices: [standard, quantile]}",
        "architecture: mlp, embed_numbers: periodic, batch_norm: true",
    ),
    "text": (
        write_texts,
        "name: text, column: text, target: lives",
        "architecture: {choices: {bag: {}, rnn: {cell: gru}}}, width: 16",
    ),
    "audio": (
        write_clips,
        "name: audio, column: clip, target: lives, sample_rate: 8000, max_seconds: 0.25",
        "architecture: cnn, depth: 1, channels: 4",
    ),
    "images": (
        write_pictures,
        "name: images, target: lives, size: 8",
        "architecture: cnn, depth: 1, channels: 4",
    ),
}


def run(sweep: Sweep, metric: str, data: str, model: str) -> float:
    """The best value of a study."""
    sweep.write(STUDY.format(metric=metric, data=data, model=model))
    done = sweep.run()
    assert done.returncode == 0, done.stderr
    best = sweep.result().best
    assert best is not None
    return best.values[metric]


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_gives_its_score_again_and_is_served(sweep: Sweep, port: int, kind: str) -> None:
    write, data, network = KINDS[kind]
    row = write(sweep.folder)
    recorded = run(sweep, "val_accuracy", data, network)
    model = best_model(sweep)
    assert run_elsewhere(sweep.folder, SCORE, model, "lives") == pytest.approx(recorded, abs=1e-9)
    with serving(sweep.folder, model, port) as address:
        [answer] = ask(address, {"dataframe_records": [row]})
    assert list(answer) == ["no", "yes"]
    assert math.isclose(sum(answer.values()), 1)


def test_a_regression_gives_its_score_again(sweep: Sweep) -> None:
    write_rows(sweep.folder)
    _, data, network = KINDS["table"]
    recorded = run(sweep, "val_rmse", data.replace("lives", "cost"), network)
    found = run_elsewhere(sweep.folder, SCORE, best_model(sweep), "cost")
    assert found == pytest.approx(recorded, rel=1e-6)
    kept = [path.stem for path in sweep.paths.preprocessing("").parent.iterdir()]
    logs = [sweep.paths.events(number).read_text() for number in (0, 1)]
    assert [sum(digest in log for digest in kept) for log in logs] == [1, 1]
