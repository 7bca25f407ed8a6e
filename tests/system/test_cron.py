"""The crontab line of docs/cluster.md, as cron runs it."""

import os
import shlex
import subprocess
import sys

import pytest

from sweeper.study.attributes import Owner
from tests.support.sweep import Sweep, await_goal

pytestmark = pytest.mark.slow


def fire(sweep: Sweep) -> subprocess.Popen[str]:
    """As cron does: by ``sh``, with next to no environment, and nothing to read from."""
    folder, program = shlex.quote(str(sweep.folder)), shlex.quote(sys.executable)
    environment = {"HOME": str(sweep.folder), "LOGNAME": "ann", "PATH": "/usr/bin:/bin"}
    return subprocess.Popen(
        ["/bin/sh", "-c", f"cd {folder} && {program} -m sweeper run sweep.yaml"],
        env=environment | {k: v for k, v in os.environ.items() if k == "PYTHONPATH"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_cron_may_fire_twice_in_a_minute_and_again_when_all_is_done(sweep: Sweep) -> None:
    sweep.write_default(trials=12, epochs=30)
    await_goal(fire(sweep), fire(sweep))
    sweep.assert_truth(finished=12)
    agents = {Owner.of(trial).agent for trial in sweep.study().trials()}
    assert len(agents) == 2, "both took part"
    await_goal(fire(sweep))
    sweep.assert_truth(finished=12)
