import gzip
import math
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import asking
import busy_machine
import crew
import first_step
import memory
import plain_step
import pruning
import pytest
import search
import search_problems
import search_replay
import step
import torch
import worker_profile
from long_study import LongStudy
from torch import nn

from sweeper.events import Ended, EventWriter, Started
from sweeper.paths import RunPaths
from sweeper.trial import EpochMetrics, Outcome, TrialState


def started(time_s: float) -> Started:
    return Started(time_s, 0, {}, {}, None, None)


def epoch(number: int, time_s: float, accuracy: float, seconds: float = 1.0) -> EpochMetrics:
    return EpochMetrics(number, {"val_accuracy": accuracy, "epoch_seconds": seconds}, time_s)


def ended(time_s: float, state: TrialState) -> Ended:
    return Ended(time_s, Outcome(state, None))


def test_a_course_begins_with_the_first_trial_whatever_the_order_of_the_logs() -> None:
    course = pruning.read_course(
        [
            *(started(101.0), epoch(1, 104.0, 0.7), ended(105.0, TrialState.PRUNED)),
            *(started(100.0), epoch(1, 102.0, 0.5), epoch(2, 108.0, 0.9)),
            ended(109.0, TrialState.COMPLETE),
        ]
    )
    assert course.values == [(2.0, 0.5), (4.0, 0.7), (8.0, 0.9)]
    assert (course.seconds, course.n_pruned, course.best) == (9.0, 1, 0.9)
    assert course.seconds_to(0.6) == 4.0


def test_pruners_race_to_the_lower_of_both_final_values() -> None:
    asha = pruning.Course([(1.0, 0.5), (2.0, 0.8)], seconds=10.0, n_pruned=7)
    none = pruning.Course([(1.0, 0.5), (6.0, 0.85), (30.0, 0.9)], seconds=40.0, n_pruned=0)
    page = pruning.render({1: {"none": none, "asha": asha}}, n_trials=9)
    assert "9 MLP trials" in page
    assert "the same best is there 3.0 x as early, and all trials are over 4.0 x as early" in page
    assert "| 1 | asha | 0.8000 | 0.8000 | 2.0 | 10.0 | 2 | 7 |" in page
    assert "| 1 | none | 0.9000 | 0.8000 | 6.0 | 40.0 | 3 | 0 |" in page


def test_a_search_is_judged_by_what_it_reported_best_not_by_what_it_could_not_see() -> None:
    problem = search_problems.tiny()
    trial = search.Trial("t", [problem], (), marks=(1, 3))
    asked = [
        search_replay.Asked(regret=0.5, lowest=0.4, n_epochs=1, cpu_s=0.01, is_repeated=False),
        search_replay.Asked(regret=0.1, lowest=0.45, n_epochs=1, cpu_s=0.01, is_repeated=False),
        search_replay.Asked(regret=0.3, lowest=0.2, n_epochs=1, cpu_s=0.03, is_repeated=True),
    ]
    assert search.best_at(asked, trial) == [0.5, 0.3]
    assert search.cpu_ms(asked, trial) == pytest.approx([10.0, 50 / 3])


def test_marks_of_whole_trainings_are_epochs() -> None:
    trial = search.Trial("t", [search_problems.tiny()], (), marks=(1, 2), is_by_epochs=True)
    epochs = search_problems.EPOCHS
    asked = [search_replay.Asked(float(n), -float(n), epochs // 3, 0.0, False) for n in range(7)]
    assert search.best_at(asked, trial) == [2.0, 5.0]


def test_both_ways_of_searching_meet_the_same_answers() -> None:
    problem = search_problems.tiny()
    for name in ("sweeper", "tpe"):
        asked = search_replay.contender(name)(problem, 0, 12, 2, math.inf)
        assert len(asked) == 12
        assert all(one.lowest == one.regret for one in asked)
    assert not any(
        one.is_repeated for one in search_replay.contender("sweeper")(problem, 1, 64, 1, math.inf)
    )


def test_curves_end_where_the_budget_of_epochs_does(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "mlp_small.csv.gz", "wt") as file:
        file.write("learning_rate_init,width,valid_score_0,valid_score_1\n")
        for rate in range(4):
            file.writelines(
                f"{rate},{width},{0.5 + rate / 10},{width / 10}\n" for width in range(4)
            )
    [table] = search_problems.load_tables(tmp_path).values()
    assert table.best == -0.55
    assert table.loss({"learning_rate_init": 3, "width": 0}) == -0.4
    problem = search_problems.curves(table)
    for name in ("sweeper", "random+asha"):
        asked = search_replay.contender(name)(problem, 0, 100, 1, 60)
        assert sum(one.n_epochs for one in asked) == 60


def test_the_first_step_is_where_the_earliest_epoch_began_and_the_last_where_the_latest_ended(
    tmp_path: Path,
) -> None:
    paths = RunPaths(tmp_path, "study")
    for number, (ended_s, seconds) in enumerate([(110.0, 3.0), (112.0, 6.5)]):
        with EventWriter(paths.events(number)) as log:
            log.append(started(100.0))
            log.append(epoch(1, ended_s, 0.5, seconds))
            log.append(epoch(2, ended_s + 1, 0.5, 1.0))
    assert first_step.first_epoch_s(paths) == 105.5
    assert first_step.last_epoch_s(paths) == 113.0


def test_what_was_before_is_compared_run_by_run() -> None:
    taken = first_step.Taken
    now = {"fresh": [taken(2.0, 1.0, 4.0), taken(4.0, 2.0, 8.0), taken(3.0, 1.0, 5.0)]}
    then = {"fresh": [taken(3.0, 8.0, 8.0), taken(8.0, 8.0, 24.0), taken(3.0, 2.0, 10.0)]}
    row = first_step.render_before(now, then).splitlines()[2]
    assert row.endswith("| 1.5 (1.0 - 2.0) | 4.0 (2.0 - 8.0) | 2.0 (2.0 - 3.0) |")
    assert row.startswith("| fresh | 3.0 (3.0 - 8.0) | 8.0 (2.0 - 8.0) | 10.0 (8.0 - 24.0) |")


def test_a_further_worker_is_what_the_most_take_beyond_the_fewest() -> None:
    assert memory.per_worker({1: 1000.0, 2: 1350.0, 4: 1900.0}) == 300.0


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's /proc")
def test_memory_is_read_of_processes_and_what_they_started() -> None:
    shell = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen(
        [sys.executable, "-c", shell], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        while len(memory.descendants(process.pid)) < 1:
            assert process.poll() is None
            time.sleep(0.01)
        (child,) = memory.descendants(process.pid)
        assert child in memory.descendants(os.getpid())
        assert memory.proportional_mib(child) > 0
        process.stdin.write(b"\n")
    assert memory.proportional_mib(child) == 0


def test_steps_of_all_take_turns_and_the_first_is_not_counted() -> None:
    order: list[str] = []
    epochs = {name: partial(order.append, name) for name in "ab"}
    millis = plain_step.compare(epochs, n_steps=1, n_repeats=2)
    assert "".join(order) == "abbaab"
    assert {name: len(values) for name, values in millis.items()} == {"a": 2, "b": 2}


def test_a_step_is_shown_beside_the_plain_one_and_its_limit() -> None:
    page = plain_step.render({"adult": {"products": [1.0], "sweeper": [2.0], "plain": [6.0]}})
    spreads = [f"{value:.2f} ({value:.2f} - {value:.2f})" for value in (1, 2, 6)]
    assert f"| an MLP on adult | {' | '.join(spreads)} | 3.0 | 6.0 |" in page


def test_products_of_a_step_leave_out_the_gradient_of_the_first_inputs() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    inputs = torch.rand(4, 2, 3)
    products = step.list_products(model, inputs)
    # Forward, forward; then of the last layer inputs and weights, of the first weights alone.
    shapes = [(4, 5), (4, 3), (4, 5), (3, 5), (5, 6)]
    with torch.no_grad():
        assert sorted(tuple(product().shape) for product in products) == sorted(shapes)
        torch.testing.assert_close(products[0](), model[1](inputs.flatten(1)), rtol=0, atol=1e-6)


def test_products_of_a_convolution_are_its_forward_and_one_backward_call() -> None:
    model = nn.Sequential(
        *(nn.Conv2d(1, 2, 3, padding="same"), nn.Conv2d(2, 4, 3, padding="same")),
        *(nn.Flatten(), nn.Linear(64, 3)),
    )
    inputs = torch.rand(2, 1, 4, 4)
    products = step.list_products(model, inputs)
    assert len(products) == 3 + 2 + 2
    with torch.no_grad():
        torch.testing.assert_close(products[0](), model[0](inputs), rtol=0, atol=1e-6)
        gradients = [products[6](), products[5]()]
    assert [gradient[0] is None for gradient in gradients] == [True, False]
    assert [tuple(gradient[1].shape) for gradient in gradients] == [(2, 1, 3, 3), (4, 2, 3, 3)]


def test_products_of_recurrence_and_attention_are_those_of_every_point_in_time() -> None:
    gru = nn.GRU(3, 2, batch_first=True)
    n_products = [len(step.list_products(_First(gru), torch.rand(4, n, 3))) for n in (5, 6)]
    assert n_products[1] - n_products[0] == 3  # forward, inputs, weights of one more point
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    products = step.list_products(layer, torch.rand(4, 5, 8))
    assert sum("attention" in str(product) for product in products) == 2


class _First(nn.Module):
    """Of what a module returns."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.inner(inputs)[0]
        return outputs


def test_a_trial_asked_for_joins_the_history_it_was_drawn_from(tmp_path: Path) -> None:
    long_study = LongStudy(tmp_path, "auto", 12, 2)
    long_study.begin()
    study = long_study.open("tpe")
    assert (study.n_finished(), study.goal) == (12, 14)
    assert crew.time_trial(study, "worker0") > 0
    assert long_study.open("random", like=study).n_finished() == 13


@pytest.mark.postgres
def test_sql_copies_trials_with_other_settings(tmp_path: Path, postgres_url: str) -> None:
    address = postgres_url.replace("postgresql:", "postgresql+psycopg:")
    long_study = LongStudy(tmp_path, address, 300, 1)
    long_study.begin()
    trials = long_study.open("random").trials()
    assert [trial.number for trial in trials] == list(range(300))
    assert len({frozenset(trial.params.items()) for trial in trials}) == 300
    assert len({trial.value for trial in trials}) == 300


def test_what_took_too_long_is_said_so() -> None:
    row = asking.Row("journal file", 10_000, "gp", crew.Cell([0.2, 0.1, 0.4], 0.7), None)
    rest = ["200", "over 20 s", "over 20 s"]
    assert row.render() == ["journal file", "10,000", "gp", *rest]


def test_a_workers_samples_are_those_below_its_claim(tmp_path: Path) -> None:
    stacks = tmp_path / "stacks.txt"
    working = "process 7;main (sweeper/worker.py:9);Worker._work_once (sweeper/worker.py:3)"
    learning = f"{working};EagerLearner._train_batch (sweeper/eager.py:8)"
    stacks.write_text(
        f"process 7;<module> (torch/__init__.py:1) 50\n{learning};relu (torch/nn.py:1) 4\n"
        f"{learning};relu (torch/nn.py:2) 2\n{working};save (sweeper/checkpoint.py:1) 2\n"
    )
    page = worker_profile.render_profile(tmp_path / "mlp.yaml", worker_profile.read(stacks))
    assert "of 8 samples of workers with a trial 75.0% train_batch and 0.0% evaluate_batch" in page
    assert "| `relu (torch/nn.py)` | 75.0% |" in page
    assert "| `save (sweeper/checkpoint.py)` | 25.0% |" in page
    assert "others" not in page


def test_a_busy_machine_is_told_by_the_worst_ratio_of_medians() -> None:
    alone = {"sleep": [1.0, 1.0, 5.0], "spin": [1.0, 1.0, 1.0]}
    beside = {"sleep": [2.0, 2.0, 2.0], "spin": [9.0, 9.0, 30.0]}
    page = busy_machine.render({"MLP": {"nothing": alone, "4 busy loops": beside}})
    assert "it takes up to 4.5 times as long" in page
    assert "| MLP | nothing | 1.0 (1.0 - 5.0) | 1.0 (1.0 - 1.0) | 1.00 |" in page
