"""What ``sweeper run`` does on a study, once all that takes long to import is there."""

import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sweeper.commands.prepare import prepare_study
from sweeper.commands.progress import Progress
from sweeper.commands.screen import Screen
from sweeper.commands.warm_start import read_warm_start
from sweeper.config.grid import explain_goal
from sweeper.config.in_memory import handed_over
from sweeper.config.references import import_folders, user_folders
from sweeper.config.render import render_study
from sweeper.config.space import first_value, suggest_config
from sweeper.config.study import StudySpec
from sweeper.config.user_code import functions_in_memory, references
from sweeper.data.built_in.sources import SOURCES, raw_files
from sweeper.durable import Step, durable, replace_file
from sweeper.errors import SpecError
from sweeper.paths import RunPaths
from sweeper.study.code_versions import code_versions, explain_change
from sweeper.study.create import create_study
from sweeper.study.failures import failed_numbers
from sweeper.study.result import Result, at_goal
from sweeper.study.storage.backend import store_errors
from sweeper.study.study import SweepStudy
from sweeper.text import format_count
from sweeper.tracking.address import tracking_uri
from sweeper.tracking.completion import Completion, find_completion
from sweeper.workers.agent import Agent
from sweeper.workers.forkserver import ForkServer
from sweeper.workers.protocol import AgentArgs
from sweeper.workers.versions import version_tags


def find_finished(spec: StudySpec, root: Path) -> tuple[SweepStudy, Completion] | None:
    """The study if nothing is left to do for it, for which neither data nor code are needed."""
    paths = RunPaths(root, spec.name)
    if not paths.mirrored.exists():
        return None
    with store_errors():
        study = create_study(spec, paths)
        is_quiet = study.object_store is None and not study.cache.look().running
    completion = find_completion(study) if is_quiet else None
    return (study, completion) if completion else None


def show_finished(study: SweepStudy, completion: Completion, screen: Screen) -> Result:
    """Show what a study has come to for which nothing is left to do."""
    display = Progress(screen, study)
    if reason := explain_goal(study.spec):
        display.note(reason)
    with store_errors():
        result = at_goal(study)
        display.summary(result)
    display.next_steps(result, completion, has_everything=True)
    return result


def work_on(spec: StudySpec, root: Path, screen: Screen, server: ForkServer) -> Result:
    """As :func:`~sweeper.commands.run.run_study`, on a screen and with a server that are open."""
    server.begin()
    functions = _hand_over_functions(spec)
    prepared = prepare_study(spec, root, screen.note)
    with store_errors():
        study = create_study(
            prepared.spec, prepared.paths, partial(read_warm_start, prepared.spec, root)
        )
        _write_resolved(study)
        study.queue.top_up()
        args = _agent_args(study, prepared.data_label, functions, screen.note)
        if study.n_finished() < study.goal:
            screen.begin(_opening_lines(study))
            versions = code_versions(study.attributes)
            if change := explain_change(args.code, versions):
                screen.note(f"WARNING: {change}")
        agent = Agent(study, args, server, Progress(screen, study))
    return agent.run()


def _hand_over_functions(spec: StudySpec) -> str:
    """Functions that no module has, for the workers.

    Raises:
        SpecError: If they cannot be handed over, with the place of the first.
    """
    functions = functions_in_memory(spec)
    try:
        return handed_over(functions)
    except SpecError as exc:
        place = next(key for key, reference in references(spec) if reference in functions)
        raise SpecError(f"{spec.place(place)}: {exc}") from exc


def _opening_lines(study: SweepStudy) -> list[str]:
    """What is to be done, and what decides how."""
    sampler, why = study.sampler.explain()
    warm = study.sampler.warm_start
    pruner = study.pruner.explain()
    before = study.n_finished()
    return [
        f"{study.spec.name}: {format_count(study.goal, 'trial')} to finish"
        + (f", {before:,} of them done" if before else ""),
        f"sampler {sampler}: {why}",
        *([f"warm start: {warm.explain(sampler)}"] if warm else []),
        f"pruner {pruner.name}: {pruner.why}",
    ]


def _write_resolved(study: SweepStudy) -> None:
    path = study.paths.resolved_spec  # another command's workers may be reading it
    with study.lock.held(), durable(Step.RESOLVED_FILE), replace_file(path) as aside:
        aside.write_text(render_study(study.spec), encoding="utf-8")


def _agent_args(
    study: SweepStudy, data_label: str, functions: str, note: Callable[[str], None]
) -> AgentArgs:
    """What the workers of a new agent are told."""
    tags = version_tags(study.spec.path.absolute().parent, _written_by_sweeper(study), note)
    shares_runs = study.spec.shares_runs
    return AgentArgs.of(
        study,
        uuid.uuid4().hex[:12],
        # A script and a notebook have told this process alone where their modules lie.
        import_dirs=[*import_folders(study.spec.path), *user_folders()],
        functions=functions,
        data_label=data_label,
        failed_before=failed_numbers(study.records()),
        tracking_uri=tracking_uri(study.spec.tracking.uri, study.paths) if shares_runs else "",
        tags=tags,
    )


def _written_by_sweeper(study: SweepStudy) -> list[Path]:
    """Folders in which a change is none of the user's code."""
    data = suggest_config(study.spec, first_value, seed=study.spec.seed).data
    downloads = [raw_files(data).folder] if data and data.name in SOURCES else []
    return [study.paths.root, *downloads]
