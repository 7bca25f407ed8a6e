"""Many commands at once on one study: each trial is done by one of them, the total is exact."""

import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from mlflow_server import MlflowServer

from tests.support.sweep import Sweep, await_goal

pytestmark = pytest.mark.slow

N_AGENTS = 8
TRIALS = 48
STUDY = """
name: {name}
objective: {{metric: score, direction: maximize}}
budget: {{trials: {trials}}}
sampler: {{name: random}}
pruner: {{name: none}}
train: {{function: "own:run", x: {{low: 0.0, high: 1.0}}}}
run: {{workers: 1}}
storage: {storage}
tracking: {{uri: {uri}}}
"""
#: No worker goes on before all are there, so that they compete for what is left.
CODE = """
import os, time
from pathlib import Path

HERE = Path({meeting!r})


def run(params, trial):
    (HERE / str(os.getpid())).touch()
    deadline = time.monotonic() + 60
    while len(list(HERE.iterdir())) < {n_agents} and time.monotonic() < deadline:
        time.sleep(0.01)
    with open(HERE.with_name("trials"), "a") as file:
        file.write(f"{{trial.number}} {{os.getpid()}}\\n")
    for epoch in (1, 2, 3):
        trial.report(epoch, score=params["train"]["x"] * epoch)
"""


def prepare(sweep: Sweep, *, storage: str, uri: str, meeting: Path) -> None:
    meeting.mkdir(exist_ok=True)
    sweep.folder.mkdir(exist_ok=True)
    sweep.write(STUDY.format(name=sweep.name, trials=TRIALS, storage=storage, uri=uri))
    sweep.write_code(CODE.format(meeting=str(meeting), n_agents=N_AGENTS))


def run_at_once(sweeps: Sequence[Sweep]) -> None:
    """``sweeper run`` in each of the folders; all must reach the goal."""
    await_goal(*(sweep.start() for sweep in sweeps))


def assert_each_trial_once(folder: Path) -> None:
    lines = [line.split() for line in (folder / "trials").read_text().splitlines()]
    assert sorted(int(number) for number, _ in lines) == list(range(TRIALS))
    assert len(Counter(pid for _, pid in lines)) == N_AGENTS, "not all of them took part"


def test_eight_commands_in_one_folder_share_a_journal_file(sweep: Sweep, tmp_path: Path) -> None:
    prepare(sweep, storage="auto", uri="auto", meeting=tmp_path / "meeting")
    run_at_once([sweep] * N_AGENTS)
    assert_each_trial_once(tmp_path)
    assert sweep.states() == dict.fromkeys(range(TRIALS), "complete")
    sweep.assert_truth(finished=TRIALS)


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.stop()


@pytest.mark.gate
@pytest.mark.postgres
def test_eight_machines_share_a_database_and_an_mlflow_server(
    postgres_url: str, server: MlflowServer, tmp_path: Path
) -> None:
    """A folder each, so that they have nothing else in common."""
    name = f"study-{uuid.uuid4().hex}"
    machines = [
        Sweep(tmp_path / f"machine{i}", name=name, uri=server.uri) for i in range(N_AGENTS)
    ]
    for machine in machines:
        prepare(machine, storage=postgres_url, uri=server.uri, meeting=tmp_path / "meeting")
    run_at_once(machines)
    assert_each_trial_once(tmp_path)
    one = machines[0]
    assert one.states() == dict.fromkeys(range(TRIALS), "complete")
    runs = one.runs()
    assert [int(run.data.tags["sweeper.trial"]) for run in runs] == list(range(TRIALS))
    assert {run.info.status for run in runs} == {"FINISHED"}
    [parent] = one.runs("study")
    assert parent.info.status == "FINISHED"
    client = one.client()
    for run in runs:
        curve = client.get_metric_history(run.info.run_id, "score")
        assert [point.step for point in curve] == [1, 2, 3]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
