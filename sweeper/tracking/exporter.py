"""The models of trials as programs, built and exported by torch; it needs no MLflow."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from sweeper.data.preprocessing import read_preprocessing
from sweeper.models.build import build_for
from sweeper.tracking.exported import ExportedModels, save_exported
from sweeper.tracking.exporting import Exported, ExportError, ExportTask, UnreadableError
from sweeper.tracking.served import Served
from sweeper.tracking.trained import build_trained, form_of, probe_of
from sweeper.trial import DataInfo

_logger = logging.getLogger("sweeper")


class Exporter:
    """Exports in this process; see :class:`~sweeper.tracking.exporting.Exporting`."""

    def __init__(self) -> None:
        self._exported = ExportedModels()

    def check(self, weights: Path) -> None:
        """See :class:`~sweeper.tracking.exporting.Exporting`."""
        _read_state(weights)

    def export(self, task: ExportTask, program: Path) -> Exported:
        """See :class:`~sweeper.tracking.exporting.Exporting`."""
        state = _read_state(task.weights)
        written = BytesIO()  # that a disk is full is no fault of the model
        try:
            exported = self._export(task, state, written)
        except (Exception, SystemExit) as exc:  # of a user's builder
            raise ExportError(f"{type(exc).__name__}: {exc}".partition("\n")[0]) from exc
        program.write_bytes(written.getbuffer())
        return exported

    def prepare(self, task: ExportTask) -> None:
        """See :class:`~sweeper.tracking.exporting.Exporting`."""
        try:
            state = build_for(task.model, task.data).state_dict()
            self._export(task, state, BytesIO())
        except (Exception, SystemExit):
            _logger.debug("%s: cannot be exported yet", task.model.architecture, exc_info=True)

    def _export(self, task: ExportTask, state: Mapping[str, Any], program: BytesIO) -> Exported:
        model, data = task.model, task.data
        served, bare = _find_served(data, task.preprocessing)
        with _one_thread():
            module = build_trained(model, data, state, served)
            probe = served.probe() if served else probe_of(data)
            kind = form_of(model, data, served)
            exported = self._exported.find(kind)
            if exported:
                exported.save(module, probe, program)
            else:
                exported = save_exported(module, probe, program, served.rows() if served else None)
                self._exported.keep(kind, exported)
        return Exported(exported.form, bare)


def _find_served(data: DataInfo, path: Path) -> tuple[Served | None, str]:
    """How rows are served; without that, why not, if they were to be."""
    if not data.preprocessing:
        was_before = data.features is not None
        return None, "it was trained by an older version of sweeper" if was_before else ""
    try:
        return Served(read_preprocessing(path, data.preprocessing), data), ""
    except FileNotFoundError:
        return None, f"{path} is absent"
    except Exception as exc:  # whatever torch meets in a file of somebody else
        return None, f"{path} {exc}".partition("\n")[0]


def _read_state(weights: Path) -> Mapping[str, Any]:
    """The state_dict of a file; nothing in it can run code."""
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except OSError:
        raise  # it may be read later
    except Exception as exc:  # whatever torch meets in a file of somebody else
        raise UnreadableError(str(exc)) from exc
    if not isinstance(state, Mapping):
        raise UnreadableError(f"it holds a {type(state).__name__}")
    return state


@contextmanager
def _one_thread() -> Iterator[None]:
    """For three samples, threads mostly wait for each other, and each burns a core at it."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
