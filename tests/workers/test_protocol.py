from sweeper.workers.protocol import WorkerArgs

ORDER = WorkerArgs(
    root="mlruns/ü",
    study="small",
    study_file="studies/ü.yaml",
    lines={"train.epochs": 7},
    storage="postgresql://me:secret\n@host/db",
    agent="ba9876543210",
    name="0123456789ab",
    given_s=1_700_000_000.5,
    import_dirs=["studies", "/home/me/my code"],
    device="cuda:1",
    n_threads=3,
    n_sharing=2,
    data_label="mnist-on-digits",
    failed_before=[3, 5],
    tags={"git_commit": "c0ffee", "version.torch": "2.6"},
)


def test_an_order_is_one_line_that_reads_back() -> None:
    line = ORDER.encode()
    assert WorkerArgs.decode(line) == ORDER
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
