"""``python -m sweeper.workers``: one worker's process, or what exports models, or what forks them.

An agent starts it, see :mod:`sweeper.workers.protocol`.
"""

import faulthandler
import logging
import os
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

from sweeper.imports import loading

with loading("what a worker needs"):
    import numpy as np
    import torch

    from sweeper.config.in_memory import take_over
    from sweeper.config.reader import load_resolved
    from sweeper.config.references import make_importable
    from sweeper.config.study import StudySpec
    from sweeper.errors import StoreError, TrainingError, TrialLost
    from sweeper.paths import RunPaths
    from sweeper.study.create import load_study_from_storage
    from sweeper.study.presence import Presence
    from sweeper.study.storage.backend import store_errors
    from sweeper.text import log_to_stderr
    from sweeper.workers.forkserver import EXPORTER, SERVE, WORKER, name_process, serve
    from sweeper.workers.gpus import see_only
    from sweeper.workers.memory import keep_freed_memory
    from sweeper.workers.protocol import DRAIN_S, Channel, WorkerArgs
    from sweeper.workers.runner import no_terminal
    from sweeper.workers.signals import StopRequest, reset_signals, write_stack_when_asked
    from sweeper.workers.worker import Worker

log = logging.getLogger("sweeper")


def main(channel: Channel) -> None:
    """Run one worker to its end."""
    name_process("sweeper-worker")
    args = channel.read_args()
    see_only(args.place.visible)  # before the user's code, or anything, starts CUDA
    log_to_stderr("%(asctime)s %(levelname)s %(message)s", logging.INFO)
    write_stack_when_asked()  # as the agent asks where it hangs
    stopping = StopRequest()
    _listen(channel, stopping)
    make_importable(args.import_dirs)
    take_over(args.functions)
    np.random.seed()  # else forks draw alike until a trial seeds it
    _use_threads(args.place.n_threads)
    keep_freed_memory()
    paths = RunPaths(Path(args.root), args.study)
    with store_errors():
        presence = Presence(paths.presence_dir, args.name)
    try:
        study = load_study_from_storage(_load_spec(args, paths), paths)
        assert study is not None, "the agent creates the study before its workers"
        sys.breakpointhook = partial(_refuse_breakpoint, study.spec)
        Worker(
            args,
            study,
            stopping,
            tell=channel.send_note,
            tell_epochs=channel.send_epochs,
            tell_over=channel.send_over,
        ).work()
    finally:
        presence.leave()


def _load_spec(args: WorkerArgs, paths: RunPaths) -> StudySpec:
    """The study as it was when its agent began, with the places of the user's own values."""
    return replace(
        load_resolved(paths.resolved_spec),
        path=Path(args.study_file),
        origins=args.origins,
        overrides=tuple(args.overrides),
        storage=args.storage,
    )


def _listen(channel: Channel, stopping: StopRequest) -> None:
    """Stop after the current batch when told to, or when nobody is there to tell."""
    stopping.listen()
    os.register_at_fork(after_in_child=reset_signals)  # processes of user code end as usual
    threading.Thread(target=_stop_when_alone, args=(channel, stopping), daemon=True).start()


def _stop_when_alone(channel: Channel, stopping: StopRequest) -> None:
    """Stop after the current batch once the agent's end of the channel is closed.

    What hangs is ended the hard way: nobody else would.
    """
    channel.await_end()
    log.warning("the agent is gone; this worker ends after the current batch")
    stopping.set()
    faulthandler.dump_traceback_later(DRAIN_S, exit=True)


def _refuse_breakpoint(spec: StudySpec, *args: object, **kwargs: object) -> object:
    """What ``breakpoint()`` does in a worker, which has no terminal to debug in."""
    if os.environ.get("PYTHONBREAKPOINT"):  # 0, or a debugger of the user's that needs none
        return sys.__breakpointhook__(*args, **kwargs)
    frame = sys._getframe(1)
    raise TrainingError(
        f"breakpoint() at {frame.f_code.co_filename}:{frame.f_lineno}: {no_terminal(spec)}"
    )


def _use_threads(n_threads: int) -> None:
    torch.set_num_threads(n_threads)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # for processes of user code
        os.environ[name] = str(n_threads)
    if n_threads > 1:  # the server had to load numpy's OpenBLAS with one
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        threadpool_limits(n_threads)


def run_process() -> NoReturn:
    """Run :func:`main`, then end at once: threads that user code left must not keep it alive."""
    code = 0
    channel = Channel()
    try:
        main(channel)
        channel.send_end("")
    except TrialLost as signal_:
        log.warning("%s; this worker ends", signal_)
        channel.send_end("")
    except StoreError as exc:
        channel.send_end(str(exc))
    except BaseException:
        log.exception("this worker dies")
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run_exporter() -> NoReturn:
    """Export models until the agent is gone."""
    # How MLflow behaves in an agent is set with it, and must not be in workers.
    from sweeper.workers.export_models import export_models

    export_models()


#: What each process that is started here does.
LIVES = {WORKER: run_process, EXPORTER: run_exporter}

if __name__ == "__main__":
    kind = sys.argv.pop()  # else a user's own argument parser might read it
    if kind == SERVE:
        serve(LIVES)
    else:
        LIVES[kind]()
