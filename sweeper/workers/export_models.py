"""The process that exports the models of trials, from its side; it never talks to MLflow."""

import faulthandler
import json
import logging
import os
import select
import signal
import socket
import threading
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

log = logging.getLogger("sweeper")


def export_models() -> NoReturn:
    """Reply to each request on standard input, one JSON object a line, until the agent is gone."""
    name_process("sweeper-export")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # the agent is told too, and may need it once more
    faulthandler.enable(all_threads=False)
    log_to_stderr("%(asctime)s %(levelname)s %(message)s", logging.WARNING)
    with socket.socket(fileno=take_standard_input()) as channel:
        threading.Thread(target=_end_with_agent, args=(channel,), daemon=True).start()
        try:
            _reply_to_all(channel)
        except ConnectionError:
            pass  # the agent has gone meanwhile
        except BaseException:
            log.exception("what exports models dies")
            os._exit(1)
        _end()


def _reply_to_all(channel: socket.socket) -> None:
    requests = channel.makefile("rb")
    code = json.loads(next(requests, b"null"))
    if code is None:
        return
    make_importable(code["import_dirs"])
    take_over(code["functions"])
    exporter = import_exporter()
    for request in requests:
        channel.sendall(json.dumps(_reply(exporter, json.loads(request))).encode() + b"\n")


def _end_with_agent(channel: socket.socket) -> NoReturn:
    """End when the agent is gone, whatever is exported: nobody else would end what hangs."""
    hung_up = select.poll()
    hung_up.register(channel, 0)  # that is told unasked
    hung_up.poll()
    _end()


def _end() -> NoReturn:
    """End at once, with the processes and threads that user code left."""
    os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


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
    except OSError as exc:
        return {"disk": [exc.errno, exc.strerror, exc.filename]}
    return {}
