"""The name of every file that sweeper writes; nobody else joins paths."""

import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path


def trial_folder(number: int) -> str:
    """Name of a trial's folder, here and in an object store."""
    return f"{number:04d}"


def trial_number(folder: str) -> int | None:
    """Number of the trial whose folder has that name; None if none has."""
    return int(folder) if re.fullmatch(r"[0-9]{4}|[1-9][0-9]{4,17}", folder) else None


@dataclass(frozen=True)
class RunPaths:
    """Files of one study below ``mlruns/`` (design section 7).

    Attributes:
        root: The folder ``mlruns``; absolute, as the user's code may change the working directory.
        study: Name of the study.
    """

    root: Path
    study: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", self.root.absolute())

    @property
    def study_dir(self) -> Path:
        """Everything of this study but what MLflow keeps."""
        return self.root / "studies" / self.study

    @property
    def resolved_spec(self) -> Path:
        """The study file with every default written out, as it was last run."""
        return self.study_dir / "study.yaml"

    @property
    def key(self) -> Path:
        """Which study of that name this is, as its storage says too."""
        return self.study_dir / "key"

    @property
    def journal(self) -> Path:
        """Optuna's journal, unless ``storage`` names a database."""
        return self.study_dir / "journal.log"

    @property
    def journal_lock(self) -> Path:
        """Held by whoever appends to the journal, line by line."""
        return self.study_dir / "journal.lock"

    @property
    def lock(self) -> Path:
        """Held by whoever begins the study, or counts its trials and then claims one."""
        return self.study_dir / "study.lock"

    def trial_lock(self, number: int) -> Path:
        """Held by whoever ends a trial or gives it back; gone once it has ended."""
        return self.study_dir / "locks" / trial_folder(number)

    @property
    def mirror_lock(self) -> Path:
        """Held by the one agent on this machine that sends events to MLflow."""
        return self.study_dir / "mirror.lock"

    @property
    def trials_dir(self) -> Path:
        """One folder a trial, named by its number."""
        return self.study_dir / "trials"

    def trial_numbers(self) -> set[int]:
        """Numbers of the trials that have a folder."""
        try:
            found = map(trial_number, os.listdir(self.trials_dir))
        except FileNotFoundError:
            return set()
        return {number for number in found if number is not None}

    def trial_dir(self, number: int) -> Path:
        """What belongs to one trial alone."""
        return self.trials_dir / trial_folder(number)

    def events(self, number: int) -> Path:
        """The trial's event log."""
        return self.trial_dir(number) / "events.jsonl"

    def checkpoint(self, number: int) -> Path:
        """Where a trial goes on from; gone once it has ended."""
        return self.trial_dir(number) / "checkpoint.pt"

    def checkpoint_files(self, number: int) -> list[Path]:
        """The checkpoint and what was written aside of it or moved aside as broken."""
        return sorted(self.trial_dir(number).glob(f"{self.checkpoint(number).name}*"))

    def model(self, number: int) -> Path:
        """Weights of the epoch that counts, as a state_dict, once the trial is complete."""
        return self.trial_dir(number) / "model.pt"

    def model_files(self, number: int) -> list[Path]:
        """Where the model of a trial may lie, in one form or the other."""
        return [self.model(number), self.exported_model(number)]

    def sendable_files(self, number: int) -> list[Path]:
        """What lies of a trial for MLflow beside its log: its model, and what its code logged."""
        found = [*self.model_files(number), *sorted(self.logged_files(number).rglob("*"))]
        return [path for path in found if path.is_file() and path.suffix != ".tmp"]

    def preprocessing(self, digest: str) -> Path:
        """What was fitted to the training rows of some data, for all trials on them."""
        return self.study_dir / "preprocessing" / f"{digest}.pt"

    def own_preprocessing(self, number: int) -> Path:
        """The same as a trial writes it, until it is whole and becomes that of all."""
        return self.trial_dir(number) / "preprocessing.pt"

    def user_checkpoint(self, number: int) -> Path:
        """Folder that a user's training function may fill; it survives a restart."""
        return self.trial_dir(number) / "checkpoint"

    def counts_from_0(self, number: int) -> Path:
        """Is there if the trial's program does; one that goes on does not begin with 0 again."""
        return self.trial_dir(number) / "counts_from_0"

    def printed(self, number: int) -> Path:
        """Folder of what the trial's program has printed, while it runs."""
        return self.trial_dir(number) / "printed"

    def exported_model(self, number: int) -> Path:
        """The model that the user's training function logged, as ``torch.export`` saves it."""
        return self.trial_dir(number) / "model.pt2"

    def logged_files(self, number: int) -> Path:
        """Folder of what the user's training function logged, as MLflow's run is to have it."""
        return self.trial_dir(number) / "artifacts"

    def fetched(self, number: int) -> Path:
        """Folder for what comes from the object store, until all of it is there."""
        return self.trial_dir(number) / "fetched"

    def shipped(self, number: int) -> Path:
        """How far the mirror has sent this trial's events, and to which MLflow run."""
        return self.trial_dir(number) / "shipped.json"

    def mlflow_run(self, number: int) -> Path:
        """The trial's run, left by the mirror where the trial's own code logs to it."""
        return self.trial_dir(number) / "mlflow_run.json"

    @property
    def mirrored(self) -> Path:
        """That MLflow has all of the study, once that and the goal are reached."""
        return self.study_dir / "mirrored.json"

    @property
    def presence_dir(self) -> Path:
        """One locked file for each living worker."""
        return self.study_dir / "alive"

    def device_room(self, device: str) -> Path:
        """Lock of a device's memory among the workers of one machine."""
        return self.study_dir / "rooms" / f"{socket.gethostname()}-{device.replace(':', '')}.lock"

    def worker_log(self, name: str) -> Path:
        """What a worker printed; gone once it ended well."""
        return self.study_dir / "workers" / f"{name}.log"

    @property
    def submissions_dir(self) -> Path:
        """One folder for each time that jobs were submitted to a scheduler."""
        return self.study_dir / "jobs"

    def submission(self, name: str) -> Path:
        """What is known of those jobs: written before they are submitted and after."""
        return self.submissions_dir / name / "submission.json"

    def job_script(self, name: str) -> Path:
        """What the scheduler was given; beside it lies what its jobs printed."""
        return self.submissions_dir / name / "job.sh"

    @property
    def cache_dir(self) -> Path:
        """Decoded data sets, shared by all studies."""
        return self.root / "cache"

    @property
    def mlflow_db(self) -> Path:
        """MLflow's own store, unless the study is tracked elsewhere."""
        return self.root / "mlflow.db"

    @property
    def mlflow_lock(self) -> Path:
        """Held by whoever makes ``mlflow_db``."""
        return self.root / "mlflow.lock"

    @property
    def artifacts(self) -> Path:
        """MLflow's artifacts beside ``mlflow_db``."""
        return self.root / "artifacts"
