from sweeper.commands.ticker import Ticker


def test_progress_is_said_every_five_seconds() -> None:
    said: list[str] = []
    clock = [0.0]
    ticker = Ticker("small: sending", said.append, lambda: clock[0])
    for n_done in range(12):
        ticker.show(n_done, 12)
        clock[0] += 1.0
    assert said == ["small: sending: 5 of 12 trials", "small: sending: 10 of 12 trials"]
