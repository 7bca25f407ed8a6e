"""Every message about ``objective``."""

import pytest

from tests.support.spec_files import BASE, assert_refused


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("objective: [val_loss]",
         "3: objective: must be a mapping of metric and direction, got a list"),
        ("objective: {metrics: val_loss}",
         "3: objective.metrics: unknown key; did you mean 'metric'?"),
        ("objective: {metric: []}",
         "3: objective.metric: must be one metric or a list of different ones"),
        ("objective: {metric: [val_loss, val_loss]}",
         "3: objective.metric: must be one metric or a list of different ones"),
        ("objective: {metric: {a: 1}}", "3: objective.metric: must be one value, got a mapping"),
        ("objective: {metric: learning_rate}", "3: objective.direction: is required, minimize or "
         "maximize: 'learning_rate' does not tell"),
        ("objective: {metric: loss, direction: minimize}", "3: objective.metric: nobody reports "
         "'loss'; did you mean 'train_loss' or 'val_loss'?"),
        ("objective: {direction: maximise}", "3: objective.direction: must be 'minimize' or "
         "'maximize', got 'maximise'; did you mean 'maximize'?"),
        ("objective: {metric: [val_loss, val_accuracy], direction: minimize}",
         "3: objective.direction: must be one for each metric, got 1 for 2"),
        ("objective: {metric: ../x, direction: minimize}\ntrain: {function: 'a:b'}",
         "3: objective.metric: MLflow reads a name as a path, which may not be absolute and holds "
         "no . .. or //, got '../x'"),
        ("objective: {metric: best_epoch, direction: minimize}\ntrain: {function: 'a:b'}",
         "3: objective.metric: sweeper writes a metric of that name itself; give it another one, "
         "got 'best_epoch'"),
        ("objective: {metric: [f1, best_f1], direction: [maximize, maximize]}\n"
         "train: {function: 'a:b'}",
         "3: objective.metric: sweeper writes a metric of that name itself; give it another one, "
         "got 'best_f1'"),
    ],
)  # fmt: skip
def test_an_objective_that_is_wrong(text: str, expected: str) -> None:
    assert_refused(BASE + text, expected)
