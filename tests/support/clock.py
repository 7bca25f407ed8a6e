class Clock:
    """Seconds that a test sets by hand, called as ``time.monotonic`` is."""

    def __init__(self, now_s: float = 0.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s
