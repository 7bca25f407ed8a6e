"""The process that exports the models of trials, from its side; it never talks to MLflow."""

import json
import logging
import os
import signal
import socket
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from sweeper.config.in_memory import take_over
from sweeper.config.records import read_record
from sweeper.config.references import make_importable
from sweeper.text import log_to_stderr
from sweeper.tracking.exporting import (
    ExportError,
    Exporting,
    ExportTask,
    UnreadableError,
)
from sweeper.tracking.own_exporter import import_exporter
from sweeper.workers.forkserver import name_process
from sweeper.workers.protocol import take_standard_input


def export_models() -> NoReturn:
    """Reply to each request on standard input, one JSON object a line, until the agent is gone."""
    name_process("sweeper-export")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # the agent is told too, and may need it once more
    log_to_stderr("%(asctime)s %(levelname)s %(message)s", logging.WARNING)
    with socket.socket(fileno=take_standard_input()) as channel:
        requests = channel.makefile("rb")
        code = json.loads(next(requests, b"null"))
        if code is not None:
            make_importable(code["import_dirs"])
            take_over(code["functions"])
            exporter = import_exporter()
            for request in requests:
                channel.sendall(json.dumps(_reply(exporter, json.loads(request))).encode() + b"\n")
    os._exit(0)  # threads that user code left must not keep it alive


def _reply(exporter: Exporting, request: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        if "check" in request:
            exporter.check(Path(request["check"]))
        elif "prepare" in request:
            exporter.prepare(read_record(ExportTask, request["prepare"]))
        else:
            task = read_record(ExportTask, request["export"])
            return asdict(exporter.export(task, Path(request["to"])))
    except UnreadableError as exc:
        return {"unreadable": str(exc)}
    except ExportError as exc:
        return {"failed": str(exc)}
    return {}
