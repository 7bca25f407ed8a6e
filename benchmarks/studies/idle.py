"""A training function that only waits; what a study of it takes is bookkeeping."""

import time
from collections.abc import Mapping
from typing import Any


def run(params: Mapping[str, Any], trial: Any) -> None:
    """Wait for ``params["train"]["seconds"]``, then report the one number that was drawn."""
    time.sleep(params["train"]["seconds"])
    trial.report(1, score=params["train"]["x"])
