from pathlib import Path

from sweeper.config.settings import DataConfig
from sweeper.data.cache import open_cache
from sweeper.events import EventWriter
from sweeper.training.checkpoint import save_checkpoint
from tests.support.examined_study import HEALTHY, assert_found_and_mended, examine
from tests.support.tracked_sweeps import TrackedSweep, begin_sweep


def test_checkpoints_of_trials_that_ended(sweep: TrackedSweep) -> None:
    save_checkpoint(sweep.paths.checkpoint(0), {"epoch": 1})
    for name in ("checkpoint.pt.tmp", "checkpoint.pt.broken"):
        (sweep.paths.trial_dir(2) / name).write_bytes(b"123")
    sweep.paths.trial_dir(99).mkdir()
    save_checkpoint(sweep.paths.checkpoint(99), {"epoch": 1})
    assert_found_and_mended(
        sweep,
        r"trials/0000/checkpoint.pt: left behind, [\d,]+ bytes: it is complete; --fix removes it",
        r"trials/0002/checkpoint.pt.broken: left behind, 3 bytes: it is pruned",
        r"trials/0002/checkpoint.pt.tmp",
        r"trials/0099/checkpoint.pt: .* the storage does not know this trial",
    )


def test_of_a_waiting_trial_only_a_broken_checkpoint_is_removed(tmp_path: Path) -> None:
    sweep = begin_sweep(tmp_path, trials=2)
    sweep.send()
    whole, broken = sweep.paths.checkpoint(0), sweep.paths.checkpoint(1)
    for path in (whole, broken):
        save_checkpoint(path, {"name": "x" * 1000})
    content = broken.read_bytes()
    broken.write_bytes(content.replace(b"xxxx", b"xxyx", 1))
    assert_found_and_mended(
        sweep,
        "trials/0001/checkpoint.pt: its checksum is wrong; --fix removes it, and the trial starts",
        healthy="small: healthy: 2 trials, 0 epochs and 0 MLflow runs agree",
    )
    assert whole.exists()


def test_a_journal_with_a_torn_tail(sweep: TrackedSweep) -> None:
    before = sweep.paths.journal.read_bytes()
    sweep.paths.journal.write_bytes(before + b'{"op_code": 6, "wor')
    assert_found_and_mended(sweep, "journal.log: its last line was not written to its end; --fix")
    assert sweep.paths.journal.read_bytes() == before


def test_an_event_log_with_a_torn_tail_of_a_trial_that_ended(sweep: TrackedSweep) -> None:
    with sweep.paths.events(0).open("ab") as log:
        log.write(b'{"event":"Epo')
    assert_found_and_mended(sweep, "trials/0000/events.jsonl: its last line was not written")


def test_a_torn_tail_of_a_trial_that_waits_is_its_next_writers(tmp_path: Path) -> None:
    sweep = begin_sweep(tmp_path, trials=1)
    sweep.send()
    sweep.paths.trial_dir(0).mkdir(parents=True)
    sweep.paths.events(0).write_bytes(b'{"event":"Sta')
    assert examine(sweep)[0]
    with EventWriter(sweep.paths.events(0)):
        assert sweep.paths.events(0).read_bytes() == b""


def test_an_event_log_that_cannot_be_read_is_only_told(sweep: TrackedSweep) -> None:
    content = sweep.paths.events(1).read_bytes()
    sweep.paths.events(1).write_bytes(b"not json\n" + content)
    is_well, lines = examine(sweep, fix=True)
    assert not is_well
    assert "trials/0001/events.jsonl: cannot be read: " in lines[0]
    assert lines[-1] == "small: 1 finding, 0 mended"


def test_a_cached_data_set_with_a_wrong_checksum_is_decoded_anew(sweep: TrackedSweep) -> None:
    entry = open_cache(DataConfig(name="digits"), sweep.paths.cache_dir)
    assert examine(sweep) == (True, [HEALTHY])
    content = bytearray(entry.path("inputs").read_bytes())
    content[1000] ^= 1
    entry.path("inputs").write_bytes(content)
    assert_found_and_mended(
        sweep, "cache/digits-.*: its checksum is wrong; --fix removes it, and the data are decoded"
    )
    anew = open_cache(DataConfig(name="digits"), sweep.paths.cache_dir)
    assert anew.path("inputs").read_bytes() != content
