"""``sweeper cancel`` and what ``status`` shows of agents, with real commands."""

import json

import pytest

from tests.support.sweep import PATIENCE_S, Sweep, kill_group, wait_until

pytestmark = pytest.mark.slow


def write_long(sweep: Sweep, trials: int) -> None:
    """Trials that run until they are stopped, as nothing is pruned."""
    sweep.write_default(trials=trials, epochs=120)
    text = sweep.file.read_text()
    sweep.write(text.replace("name: asha, min_epochs: 1, reduction_factor: 3", "name: none"))
    assert sweep.file.read_text() != text


def test_cancel_drains_every_agent_and_the_same_command_goes_on(sweep: Sweep) -> None:
    write_long(sweep, trials=4)
    agents = [sweep.start(), sweep.start()]
    try:
        wait_until(lambda: sweep.paths.journal.exists() and len(sweep.study().agents()) == 2)
        wait_until(lambda: len(sweep.epochs(0)) > 1)
        shown = json.loads(sweep.run("status", "sweep.yaml", "--json").stdout)
        assert {agent["pid"] for agent in shown["agents"]} == {agent.pid for agent in agents}
        assert all(agent["devices"] == ["cpu"] for agent in shown["agents"])
        text = sweep.run("status", "sweep.yaml").stdout
        assert text.count("1 x cpu, seen ") == 2
        done = sweep.run("cancel", "sweep.yaml")
        assert done.returncode == 0, done.stderr
        assert "2 agents stopped\n" in done.stdout
        outputs = [agent.communicate(timeout=PATIENCE_S)[0] for agent in agents]
    finally:
        for agent in agents:
            kill_group(agent)
    assert [agent.returncode for agent in agents] == [4, 4]
    assert all("`sweeper cancel` asks this command to stop" in output for output in outputs)
    assert set(sweep.states().values()) == {"waiting"}
    assert sweep.study().agents() == []
    write_long(sweep, trials=1)
    assert sweep.run().returncode == 0
    assert sweep.n_resumed() >= 1


def test_cancel_says_when_there_is_nothing_to_cancel(sweep: Sweep) -> None:
    sweep.write_default(trials=1, epochs=1)
    done = sweep.run("cancel", "sweep.yaml")
    assert done.returncode == 1
    assert done.stderr.startswith("study 'sweep' has not begun: sweeper run sweep.yaml")
    assert sweep.run().returncode == 0
    done = sweep.run("cancel", "sweep.yaml")
    assert done.returncode == 0
    assert done.stdout.startswith("0 agents stopped\n")


def test_watch_ends_with_the_goal(sweep: Sweep) -> None:
    sweep.write_default(trials=1, epochs=1)
    assert sweep.run().returncode == 0
    done = sweep.run("status", "sweep.yaml", "--watch")
    assert done.returncode == 0, done.stderr
    assert "1 of 1 trials finished" in done.stdout
    assert json.loads(sweep.run("status", "sweep.yaml", "--watch", "--json").stdout)["goal"] == 1


def test_an_agent_that_was_killed_is_not_at_work(sweep: Sweep) -> None:
    sweep.write_default(trials=2, epochs=120)
    agent = sweep.start()
    try:
        wait_until(lambda: sweep.paths.journal.exists() and sweep.study().agents())
    finally:
        kill_group(agent)
    assert sweep.study().agents() == []
    assert "agents" not in sweep.run("status", "sweep.yaml").stdout
