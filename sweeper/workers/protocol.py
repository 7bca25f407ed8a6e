"""What an agent tells a worker; apart from the worker so that the agent needs no torch."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

#: So long a worker may take to finish its batch and put its trial back; a scheduler that sent
#: SIGTERM kills what is left after 30 s (the defaults of Slurm and Kubernetes).
DRAIN_S = 20.0
#: Ends the last word of a worker to its agent; what stands before it is why it cannot go on.
FAREWELL = "\x04"
#: Ends what a worker wants the user to know while it goes on.
NOTE = "\x06"


@dataclass(frozen=True)
class WorkerArgs:
    """What the agent tells a worker: one JSON line on its standard input.

    Not on its command line, which every user of the machine can read.

    Attributes:
        root: The ``mlruns`` folder.
        study: Name of the study, whose resolved file is read.
        study_file: As the user named it, for messages.
        lines: Dotted path -> line in that file; the resolved one has other lines.
        storage: As in the study file; the resolved file does not hold its password.
        agent: Name of the agent, which holds the lease.
        name: The worker's own, unique among all that ever lived.
        given_s: When, in seconds since the Unix epoch.
        import_dirs: Folders in which the user's code is found.
        device: As torch names it, ``cuda:1``.
        n_threads: torch's threads.
        n_sharing: Workers of the agent on that device, this one included.
        data_label: Name of the data in the records, as it may be a fallback.
        failed_before: Numbers of trials that had failed when the command began; they do not count.
        tags: Of every trial: versions, git commit.
    """

    root: str
    study: str
    study_file: str
    lines: Mapping[str, int]
    storage: str
    agent: str
    name: str
    given_s: float
    import_dirs: list[str]
    device: str
    n_threads: int
    n_sharing: int
    data_label: str
    failed_before: list[int]
    tags: dict[str, str]

    def encode(self) -> bytes:
        """The line, newline included."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Self:
        """The inverse of :meth:`encode`."""
        return cls(**json.loads(line))
