"""The registered model of a study answers to raw rows where sweeper is not installed."""

import math
from pathlib import Path

import pytest

from tests.support.served_models import ask, best_model, run_elsewhere, serving
from tests.support.sweep import Sweep
from tests.support.table_files import mixed_columns, write_table

pytestmark = pytest.mark.slow

STUDY = """
objective: {{metric: {metric}}}
budget: {{trials: 2}}
data:
  name: table
  path: rows.csv
  target: {target}
  validation: {{path: held_out.csv}}
  scale: {{choices: [standard, quantile]}}
model: {{architecture: mlp, depth: 1, width: 16, embed_numbers: periodic, batch_norm: true}}
train: {{epochs: 2, learning_rate: 0.01}}
"""
#: The accuracy, or the RMSE, of a model on the rows of a file.
SCORE = """
import math, sys
import mlflow, pandas
model, rows = mlflow.pyfunc.load_model(sys.argv[1]), pandas.read_csv(sys.argv[2])
answers, target = model.predict(rows), rows[sys.argv[3]]
if sys.argv[3] in answers:
    print(math.sqrt(((answers[sys.argv[3]] - target) ** 2).mean()))
else:
    print(float((answers.idxmax(axis=1) == target).mean()))
try:
    import sweeper
except ImportError:
    sys.exit()
sys.exit("sweeper is there")
"""


def run(sweep: Sweep, target: str, metric: str) -> float:
    """The best value of a study on a table; the held-out rows have a word of their own."""
    write_table(sweep.folder / "rows.csv", mixed_columns(0, work="at sea", n_rows=200))
    write_table(sweep.folder / "held_out.csv", mixed_columns(1, work="in air", n_rows=99))
    sweep.write(STUDY.format(target=target, metric=metric))
    done = sweep.run()
    assert done.returncode == 0, done.stderr
    best = sweep.result().best
    assert best is not None
    return best.values[metric]


def test_a_classifier_of_rows_gives_its_score_again_and_is_served(
    sweep: Sweep, tmp_path: Path, port: int
) -> None:
    recorded = run(sweep, "lives", "val_accuracy")
    model = best_model(sweep)
    assert run_elsewhere(tmp_path, SCORE, model, "held_out.csv", "lives") == recorded
    row = {"age": None, "pay": "2500", "sails": 1, "rich": 0, "cost": 1e5, "work": "in space"}
    with serving(tmp_path, model, port) as address:
        [answer] = ask(address, {"dataframe_records": [row]})
    assert list(answer) == ["no", "yes"]
    assert math.isclose(sum(answer.values()), 1)
    kept = [path.stem for path in sweep.paths.preprocessing("").parent.iterdir()]
    logs = [sweep.paths.events(number).read_text() for number in (0, 1)]
    assert [sum(digest in log for digest in kept) for log in logs] == [1, 1]


def test_a_regression_of_rows_gives_its_score_again(sweep: Sweep, tmp_path: Path) -> None:
    recorded = run(sweep, "cost", "val_rmse")
    found = run_elsewhere(tmp_path, SCORE, best_model(sweep), "held_out.csv", "cost")
    assert found == pytest.approx(recorded, rel=1e-6)
