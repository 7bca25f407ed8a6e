import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pytest

from sweeper.errors import StudyError
from sweeper.study.agents import AgentInfo, job_of, register_agent, render_agent
from sweeper.study.leases import Leases
from sweeper.study.presence import Presence
from sweeper.study.study import SweepStudy
from tests.support.sweep_studies import AGENT, begin, begin_in_memory

INFO = AgentInfo("node7", 4711, "slurm 17_3", ["cuda:0", "cuda:0", "cuda:1"], "17_3.log", 5.0)


def greet(study: SweepStudy, agent: str, info: AgentInfo = INFO) -> None:
    """As an agent on another machine, whose processes cannot be seen here."""
    elsewhere = Leases(study.attributes, "elsewhere")
    elsewhere.renew(agent)
    register_agent(study.attributes, agent, info)


def test_an_agent_is_there_from_its_introduction_to_its_end(tmp_path: Path) -> None:
    study = begin(tmp_path)  # a journal: what is read has been through JSON
    study.leases.renew(AGENT)
    assert study.agents() == [], "it holds a lease but has not said who it is"
    before = time.time()
    greet(study, AGENT)
    [agent] = study.agents()
    assert (agent.name, agent.info, agent.is_stopping) == (AGENT, INFO, False)
    assert before - 60 < agent.seen_s <= time.time()
    study.leases.tell_to_stop(AGENT)
    assert study.agents()[0].is_stopping
    study.leases.end(AGENT)
    assert study.agents() == []


def test_the_eldest_comes_first_and_those_fenced_off_are_gone(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path)
    for name, begun_s in (("a", 30.0), ("b", 10.0), ("c", 20.0)):
        greet(study, name, AgentInfo("h", 1, "", ["cpu"], "", begun_s))
    study.leases.declare_over("c")
    assert [agent.name for agent in study.agents()] == ["b", "a"]


def test_of_agents_here_those_count_that_live(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path)
    presence = Presence(study.paths.presence_dir, AGENT)
    study.leases.renew(AGENT)
    register_agent(study.attributes, AGENT, INFO)
    assert [agent.name for agent in study.agents()] == [AGENT]
    presence.leave()  # as if it had been killed: its lease stands
    assert study.agents() == []


def test_an_agent_in_one_line(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path)
    greet(study, AGENT)
    study.leases.tell_to_stop(AGENT)
    assert render_agent(study.agents()[0]) == (
        "node7 (slurm 17_3), 2 x cuda:0, 1 x cuda:1, seen 0 s ago, is stopping, log 17_3.log"
    )
    greet(study, AGENT, AgentInfo("laptop", 4711, "", ["cpu"], "", 5.0))
    assert render_agent(study.agents()[0]).startswith("laptop (pid 4711), 1 x cpu, seen 0 s ago")


@pytest.mark.parametrize(
    ("environment", "job"),
    [
        ({"SLURM_JOB_ID": "19", "SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "3"}, "17_3"),
        ({"SLURM_JOB_ID": "19"}, "19"),
    ],
)
def test_a_slurm_job_goes_by_its_own_id(environment: dict[str, str], job: str) -> None:
    assert job_of(environment) == f"slurm {job}"


def test_outside_of_a_scheduler_there_is_no_job() -> None:
    assert job_of({}) == ""
    assert job_of({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}).startswith("kubernetes ")


def test_the_log_is_the_file_that_takes_the_output(tmp_path: Path) -> None:
    assert AgentInfo.own(["cpu"], 0.0).host
    output = tmp_path / "agent.log"
    before = os.dup(1)
    try:
        with output.open("w") as file:
            os.dup2(file.fileno(), 1)
            assert AgentInfo.own(["cpu"], 0.0).log == str(output)
        reader, writer = os.pipe()
        os.dup2(writer, 1)
        assert AgentInfo.own(["cpu"], 0.0).log == ""
    finally:
        os.dup2(before, 1)
    for fd in (before, reader, writer):
        os.close(fd)


def test_to_look_at_agents_deletes_no_file_whose_path_stands_as_a_name(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path)
    victim = tmp_path / "precious.txt"
    victim.write_text("data")
    study.leases.renew(str(victim))
    register_agent(study.attributes, str(victim), INFO)
    with pytest.raises(StudyError, match="^the lease of '/.*precious.txt' in the study's storage"):
        study.agents()
    assert victim.exists()


@pytest.mark.parametrize(
    "change", [{"host": "h\x1b]0;x\x07"}, {"pid": "x"}, {"devices": "cpu"}, {"more": 1}]
)
def test_what_no_agent_says_of_itself_is_refused(
    tmp_path: Path, change: Mapping[str, object]
) -> None:
    study = begin_in_memory(tmp_path)
    greet(study, AGENT)
    record = {**asdict(INFO), **change}
    study.storage.set_study_user_attr(study.study_id, f"sweeper.agent.{AGENT}", record)
    with pytest.raises(StudyError, match="^what agent agent says of itself in the study's stor"):
        study.agents()
