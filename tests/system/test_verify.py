"""``sweeper verify`` on a study that was stopped in between, and gone on with."""

import json

import pytest

from sweeper.events import Started
from tests.support.sweep import Sweep, last_json

pytestmark = pytest.mark.gate  # whole commands

STUDY = """
budget: {trials: 2}
pruner: {name: none}
data: {name: digits}
model: {architecture: {choices: {mlp: {dropout: 0.3, width: 16}, cnn: {channels: 4, depth: 1}}}}
train: {epochs: {choices: [60, 4]}, learning_rate: 0.01}
enqueue:
  - {model.architecture: mlp, train.epochs: 60}
  - {model.architecture: cnn, train.epochs: 4}
run: {workers: 1, device: cpu}
"""


def test_a_trial_that_was_stopped_is_the_same_alone_and_a_changed_one_is_found(
    sweep: Sweep,
) -> None:
    sweep.write(STUDY)
    sweep.start_and_stop(when=lambda: len(sweep.epochs(0)) > 2)
    assert sweep.run().returncode == 0
    assert sum(isinstance(event, Started) for event in sweep.events(0)) == 2

    done = sweep.run("verify", "sweep.yaml", "--n", "2", "--json")
    assert done.returncode == 0, done.stderr
    answer = last_json(done.stdout)
    assert answer["meaning"] == "sweep: verified, 2 trials came to the same numbers again"
    assert done.stderr.count(" of 2 runs alone\n") == 4

    path = sweep.paths.events(1)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line.get("epoch") == 3:
            line["values"]["val_loss"] += 1e-12
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = sweep.run("verify", "sweep.yaml", "--trial", "1")
    assert done.returncode == 1, done.stderr
    assert "val_loss parts at epoch 3" in done.stdout
    assert done.stdout.splitlines()[-1].endswith(": trial 1 differs")
