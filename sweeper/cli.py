"""Command line -> one call -> exit code. Importing it loads neither torch, mlflow nor optuna."""

import json
import logging
import os
import shlex
import sys
import traceback
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from sweeper.arguments import (
    ROOT,
    AsJson,
    Name,
    Overrides,
    StudyFile,
    StudyOrFolder,
    find,
    load,
    study_file,
    with_cluster_options,
)
from sweeper.errors import CommandStopped, ExitCode, SweeperError
from sweeper.text import log_to_stderr, redacted, write_out
from sweeper.workers.signals import exit_when_told

app = typer.Typer(
    name="sweeper",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A sweep harness for torch: one study file, Optuna inside, MLflow outside.\n\n"
    "Example: sweeper run studies/mnist.yaml",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"sweeper {version('sweeper')}")
        raise typer.Exit


@app.callback()
def _app(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Say which it is."),
    ] = False,
) -> None:
    pass


@app.command()
def init(
    path: Annotated[Path, typer.Argument(metavar="STUDY", help="The file to write.")] = Path(
        "study.yaml"
    ),
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="DATA",
            help="Of your data: a file of rows or a folder of files to look at, or `table`, "
            "`text`, `audio` or `images` for names to fill in.",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="CODE",
            help="Of your training code: a script whose argparse options are read, without "
            "running it, or `lightning` or `transformers` for a module to begin with.",
        ),
    ] = None,
) -> None:
    """Write a study file to start from; without options it runs as it is, without a download.

    Example: sweeper init studies/mine.yaml --data rows.csv
    """
    if data is not None and source is not None:
        raise typer.BadParameter("name data or code, not both", param_hint="--from")
    from sweeper.commands.init.write import write_study

    write_study(path, data=data, source=source)
    word = shlex.quote(str(path))
    write_out(f"wrote {path}; edit it, then: sweeper check {word} && sweeper run {word}")


@app.command()
def check(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="STUDY", callback=study_file, help="The study file (YAML)."),
    ] = None,
    overrides: Overrides = None,
    name: Name = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of study files instead.")
    ] = False,
) -> None:
    """Validate a study file, build its models, run one batch through each.

    Example: sweeper check studies/mnist.yaml
    """
    if schema:
        from sweeper.config.schema import study_schema

        write_out(json.dumps(study_schema(), indent=2))
        return
    if path is None:
        raise typer.BadParameter("name a study file, or ask for --schema", param_hint="STUDY")
    spec = load(path, overrides, name)
    from sweeper.commands.check.check import check_study

    for line in check_study(spec, ROOT, _note):
        _show(line)


@app.command()
def run(
    path: StudyFile,
    overrides: Overrides = None,
    name: Name = None,
    as_json: AsJson = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            help="Run one trial here instead, for breakpoint(): the one that failed last, or a "
            "first one. Nothing of it is kept.",
        ),
    ] = False,
) -> None:
    """Work on a study until its goal is reached. Start it again at any time: it goes on.

    Example: sweeper run studies/mnist.yaml
    """
    if debug and as_json:
        raise typer.BadParameter("a trial to debug prints no JSON", param_hint="--debug")
    if debug:
        from sweeper.commands.debug import debug_study

        raise typer.Exit(debug_study(load(path, overrides, name), ROOT, _show))
    from sweeper.commands.run import begun_server, run_study

    with begun_server() as server:
        spec = load(path, overrides, name)
        result = run_study(spec, root=ROOT, as_json=as_json, server=server)
    raise typer.Exit(result.exit_code or ExitCode.GOAL_REACHED)


@app.command()
def status(
    path: StudyFile,
    overrides: Overrides = None,
    name: Name = None,
    as_json: AsJson = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again every few seconds, until the goal.")
    ] = False,
    top: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="The N best trials, best first.")
    ] = None,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print the trials as CSV, one a row, and nothing else.")
    ] = False,
) -> None:
    """One look at a study: trials by state, agents, the best, the sampler, failures by cause.

    It works from wherever the study's storage can be reached.

    Example: sweeper status studies/mnist.yaml --top 10
    """
    if as_csv and (as_json or watch):
        other = "--json" if as_json else "--watch"
        raise typer.BadParameter(
            f"CSV is printed once, and alone; leave {other} out", param_hint="--csv"
        )
    spec = load(path, overrides, name)
    from sweeper.commands.status import show_csv, show_status, watch_status

    if as_csv:
        write_out(show_csv(spec, ROOT, top=top))
    elif watch:
        watch_status(spec, ROOT, as_json=as_json, top=top)
    else:
        text = show_status(spec, ROOT, as_json=as_json, top=top)
        write_out(text if as_json else redacted(text))


@app.command()
@with_cluster_options
def submit(
    path: StudyFile,
    options: dict[str, Any],
    overrides: Overrides = None,
    name: Name = None,
    begin: Annotated[
        str | None, typer.Option(help="Not before: 02:30, 3h, 2026-12-01T02:30.")
    ] = None,
    every: Annotated[str | None, typer.Option(help="Again and again: 1d, 6h.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be submitted, and do nothing.")
    ] = False,
) -> None:
    """Submit the study's agents as jobs of a scheduler; each is this same `sweeper run`.

    All but --begin, --every and --dry-run may also stand under `cluster` in the study file, or in
    a profile.

    Example: sweeper submit studies/mnist.yaml --to slurm --jobs 4 --dry-run
    """
    from sweeper.config.cluster import parse_options

    spec, cluster = load(path, overrides, name), parse_options(options)
    from sweeper.commands.submit import submit_study
    from sweeper.launchers.request import build_request

    request = build_request(spec, cluster, root=ROOT, begin=begin, every=every)
    for line in submit_study(request, is_dry=dry_run, note=_note):
        print(line if dry_run else redacted(line))  # a script that is shown can be submitted


@app.command()
def cancel(path: StudyFile, overrides: Overrides = None, name: Name = None) -> None:
    """Let all agents of a study put their trials back and end, and cancel their jobs.

    The study stays as it is; `sweeper run` or `sweeper submit` go on with it.

    Example: sweeper cancel studies/mnist.yaml
    """
    spec = load(path, overrides, name)
    from sweeper.commands.cancel import cancel_study

    for line in cancel_study(spec, ROOT, _note):
        _show(line)


@app.command()
def sync(path: StudyOrFolder, overrides: Overrides = None, name: Name = None) -> None:
    """Send to MLflow what was left behind, without running anything.

    A folder mlruns/studies/NAME may come from another machine. Of a study file, code of your own
    is imported, so that models of your own architectures are logged as MLflow models.

    Example: sweeper sync studies/mnist.yaml
    """
    from sweeper.commands.sync import sync_study

    _show(sync_study(find(path, overrides, name), root=ROOT, note=_note))


@app.command()
def doctor(
    path: StudyOrFolder,
    overrides: Overrides = None,
    name: Name = None,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended.")] = False,
) -> None:
    """Find, and with --fix mend, what disagrees: storage, event logs, MLflow, files.

    Example: sweeper doctor studies/mnist.yaml --fix
    """
    from sweeper.commands.doctor.examine import examine_study

    is_well = examine_study(
        find(path, overrides, name), root=ROOT, fix=fix, show=_show, note=_note
    )
    raise typer.Exit(ExitCode.GOAL_REACHED if is_well else ExitCode.FAILURE)


@app.command()
def verify(
    path: StudyFile,
    overrides: Overrides = None,
    name: Name = None,
    n_trials: Annotated[
        int | None,
        typer.Option("--n", min=1, metavar="N", help="So many complete trials; default 3."),
    ] = None,
    trial: Annotated[
        int | None, typer.Option(min=0, metavar="NUMBER", help="This one, which may be pruned.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train finished trials again, alone, and see that they come to what is recorded.

    Each is trained twice, with its recorded settings, seed and data, the best of each architecture
    first. Nothing of the study is written. Exits with 1 if one differs or cannot be verified.

    Example: sweeper verify studies/mnist.yaml --n 3
    """
    if n_trials is not None and trial is not None:
        raise typer.BadParameter("names one trial, and --n asks for more", param_hint="--trial")
    spec = load(path, overrides, name)
    from sweeper.commands.verify.verify import verify_study

    is_verified = verify_study(
        spec, ROOT, n_trials=n_trials or 3, number=trial, as_json=as_json, show=_show, note=_note
    )
    raise typer.Exit(ExitCode.GOAL_REACHED if is_verified else ExitCode.FAILURE)


@app.command()
def ui(
    path: StudyFile,
    overrides: Overrides = None,
    name: Name = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 for one that is free.")
    ] = 5000,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="optuna-dashboard too, on the next port.")
    ] = False,
) -> None:
    """Start MLflow's UI on this study's store, on 127.0.0.1, and print its address.

    The address holds the secret of this start: without it, the page shows nothing to anybody.

    Example: sweeper ui studies/mnist.yaml --port 5001
    """
    spec = load(path, overrides, name)
    from sweeper.commands.ui import serve_ui

    serve_ui(spec, ROOT, port, with_dashboard=dashboard)


@app.command()
def proxy(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="postgresql+psycopg://user@host/name.")
    ],
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for all of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 13000,
    certificate: Annotated[
        Path | None, typer.Option("--tls-cert", help="Certificate (PEM): TLS.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--tls-key", help="Key of the certificate.")] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let anybody in who reaches the port.")
    ] = False,
) -> None:
    """Let more agents work on PostgreSQL than it has connections.

    It is Optuna's gRPC proxy with the studies' locks beside it. Study files name it as
    `storage: grpc://HOST:13000`, or grpcs:// with TLS. Who sends the token in SWEEPER_PROXY_TOKEN
    gets in; without one, this machine alone. The database's own password is read from PGPASSWORD.

    Example: sweeper proxy postgresql+psycopg://ann@db/sweeps --host 0.0.0.0
    """
    from sweeper.commands.proxy import Doors, serve_proxy

    doors = Doors(host, port, certificate, key, insecure)
    serve_proxy(url, doors, show=_show, note=_note)


def _show(text: str) -> None:
    write_out(redacted(text))


def _note(text: str) -> None:
    print(redacted(text), file=sys.stderr, flush=True)


def main() -> NoReturn:
    """Run a command and exit with one of the codes of :class:`~sweeper.errors.ExitCode`."""
    log_to_stderr("%(levelname)s: %(message)s", logging.WARNING)
    exit_when_told()
    try:
        app(prog_name="sweeper")  # also as ``python -m sweeper``, which shells cannot complete
    except SweeperError as exc:
        _note(str(exc))
        sys.exit(exc.exit_code)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except CommandStopped as signal_:
        _note(str(signal_))
        sys.exit(ExitCode.STOPPED)
    except Exception:  # noqa: BLE001
        _note(traceback.format_exc())
        _note("This is a bug in sweeper; please report it with the lines above.")
        sys.exit(ExitCode.BUG)
    sys.exit(ExitCode.GOAL_REACHED)


def run_process() -> NoReturn:
    """:func:`main` as the whole life of a process.

    At its end nothing is taken apart, which would take a second with torch and MLflow imported.
    """
    try:
        main()
    except SystemExit as exc:
        code = exc.code or ExitCode.GOAL_REACHED
    if not isinstance(code, int):  # of code that is not ours
        _note(str(code))
        code = ExitCode.FAILURE
    logging.shutdown()
    try:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
    except BrokenPipeError:
        pass  # whoever read it has gone
    except OSError as exc:
        code = ExitCode.FAILURE
        with suppress(OSError):
            _note(f"the output is not whole: {exc}")
    os._exit(code)
