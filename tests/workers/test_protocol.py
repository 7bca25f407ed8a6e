import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sweeper.config.problems import Origin
from sweeper.workers.devices import Placement
from sweeper.workers.lane_plan import LanePlan
from sweeper.workers.protocol import Messages, WorkerArgs

ARGS = WorkerArgs(
    root="mlruns/ü",
    study="small",
    study_file="studies/ü.yaml",
    origins={"train.epochs": Origin("study.yaml", 7)},
    overrides=["train.epochs=3"],
    storage="postgresql://me:secret\n@host/db",
    agent="ba9876543210",
    name="0123456789ab",
    given_s=1_700_000_000.5,
    import_dirs=["studies", "/home/me/my code"],
    functions="gASVEAAAAAAAAAA=" * 100_000,
    place=Placement(
        "cuda:0",
        n_threads=3,
        n_sharing=2,
        gpus=("cuda:2", "cuda:3"),
        visible="4,7",
        lanes=LanePlan(most=4, n_packed=2),
    ),
    data_label="mnist-on-digits",
    failed_before=[3, 5],
    tracking_uri="https://me:secret@lab",
    code="0a1b2c3d4e5f",
    tags={"git_commit": "c0ffee", "version.torch": "2.6"},
)


#: A worker's beginning, then user code that asks for input in all ways that there are.
READS = """
import os, subprocess, sys
from sweeper.workers.protocol import Channel

channel = Channel()
args = channel.read_args()
try:
    input("overwrite? [y/N] ")
except EOFError:
    print("end")
in_a_process = "import os, sys; print(os.listdir('/proc/self/fd'), repr(sys.stdin.read()))"
print(repr(sys.stdin.read()), os.read(0, 1))
print(subprocess.run([sys.executable, "-c", in_a_process], capture_output=True, text=True).stdout)
channel.send_note(args.study)
channel.send_epochs(4, 1.25)
channel.await_end()
channel.send_end("")
"""


def test_arguments_are_read_whole_and_nothing_behind_them() -> None:
    ours, theirs = socket.socketpair()
    sending = threading.Thread(target=ours.sendall, args=(ARGS.encode() + b"more",))
    with ours, theirs:
        sending.start()
        assert WorkerArgs.read(theirs.fileno()) == ARGS
        sending.join()
        assert os.read(theirs.fileno(), 4) == b"more"


@pytest.mark.parametrize("sent", [b"", ARGS.encode()[:-1]])
def test_a_worker_that_no_agent_started_says_what_does(sent: bytes, tmp_path: Path) -> None:
    path = tmp_path / "sent"
    path.write_bytes(sent)
    with (
        path.open("rb") as pipe,
        pytest.raises(EOFError, match="a worker is started by its agent: sweeper run STUDY"),
    ):
        WorkerArgs.read(pipe.fileno())


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/fd")
def test_user_code_finds_standard_input_at_its_end_and_the_channel_goes_on() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        worker = subprocess.Popen(
            [sys.executable, "-c", READS], stdin=theirs.fileno(), stdout=-1, text=True
        )
    with ours:
        ours.sendall(ARGS.encode())
        told = b""
        while len(told) < len(b"small\x064 1.250\x07"):  # it is not stuck in a read
            told += ours.recv(100)
        assert told == b"small\x064 1.250\x07"
        ours.shutdown(socket.SHUT_WR)
        printed, _ = worker.communicate(timeout=60)
        assert ours.recv(100) == b"\x04"
    assert printed.split("\n") == [
        "overwrite? [y/N] end",
        "'' b''",
        "['0', '1', '2', '3'] ''",  # 3 is that of the listing itself
        "",
        "",
    ]


def test_an_agent_that_died_before_it_read_what_was_sent_to_it_is_gone_as_well() -> None:
    agent, theirs = socket.socketpair()
    code = READS[READS.index("channel.send_note") :].replace("args.study", "'unread'")
    code = (
        f"from sweeper.workers.protocol import Channel\nchannel = Channel()\n{code}print('over')"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", code], stdin=theirs.fileno(), stdout=subprocess.PIPE, text=True
    )
    theirs.close()
    assert agent.recv(6, socket.MSG_PEEK) == b"unread"
    agent.close()
    output, _ = worker.communicate(timeout=60)
    assert (worker.returncode, output) == (0, "over\n")


def test_notes_are_read_once_whole_and_in_order() -> None:
    messages = Messages()
    messages.add("erste ü\x06second\x06thi".encode())
    assert messages.take_notes() == ["erste ü", "second"]
    assert messages.take_notes() == []
    messages.add(b"rd\x06")
    assert messages.take_notes() == ["third"]


def test_of_the_epochs_that_each_trial_has_done_the_latest_count_until_it_leaves() -> None:
    messages = Messages()
    assert messages.epochs == {}
    messages.add("3 1.250\x07ü\x063 1.500\x074 0.".encode())
    assert messages.epochs == {3: 1.5}
    assert messages.take_notes() == ["ü"]
    messages.add(b"125\x07")
    assert messages.epochs == {3: 1.5, 4: 0.125}
    messages.add(b"3 over\x075 over\x07\x04")
    assert (messages.epochs, messages.end) == ({4: 0.125}, "")


@pytest.mark.parametrize(
    ("sent", "end"),
    [
        (b"", None),
        (b"a note\x06", None),
        (b"cut sho", None),
        (b"\x04", ""),
        (b"a note\x06\x04", ""),
        (b"a note\x06the disk is full\x04", "the disk is full"),
    ],
)
def test_an_end_is_told_apart_from_a_death_and_from_notes(sent: bytes, end: str | None) -> None:
    messages = Messages()
    messages.add(sent)
    assert messages.end == end
