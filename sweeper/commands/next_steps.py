"""How to go on from where ``sweeper run`` ends: the last lines that it shows."""

from sweeper.config.from_python import ORIGIN
from sweeper.config.grid import explain_end
from sweeper.config.overrides import COMMAND_LINE
from sweeper.errors import ExitCode
from sweeper.study.result import Result
from sweeper.tracking.completion import Completion
from sweeper.trial import TrialState


def next_steps(
    result: Result, completion: Completion | None, *, has_everything: bool
) -> list[str]:
    """The lines.

    Args:
        result: Of the command.
        completion: What MLflow has of the study, once its goal is reached and all is sent.
        has_everything: MLflow has all that this command was to send.
    """
    spec, is_from_python = result.spec, result.spec.origin("") == ORIGIN
    lines = [f"compare them: {spec.command('ui')}"]
    if not has_everything:
        lines.append(f"MLflow does not have everything yet: {spec.command('sync')}")
    if result.n_finished < result.goal:
        again = "call goes on" if is_from_python else f"command goes on: {spec.command('run')}"
        lines.append(f"the same {again}")
    elif reason := _explain_none_complete(result) or explain_end(spec):
        lines.append(reason)
    elif is_from_python:
        lines.append("to go on, raise budget.trials and run it again")
    else:
        where = "" if spec.origin("budget.trials") == COMMAND_LINE else " in the file"
        lines.append(f"to go on, raise budget.trials{where}: {spec.command('run')}")
    return [*lines, *_load_line(result, completion)]


def _explain_none_complete(result: Result) -> str:
    """What to do instead of going on where no trial is complete; empty if one is."""
    counts = result.counts
    if counts[TrialState.COMPLETE]:
        return ""
    if counts[TrialState.DIVERGED] >= counts[TrialState.PRUNED]:
        way = (
            "lower the learning rates, or see what makes the metrics infinite; a search that "
            "changes is another study, with another `name`"
        )
    else:
        way = "set `pruner: {name: none}`, or one that ends fewer trials, and raise budget.trials"
    why = f"; why some failed: {result.spec.command('status')}" * bool(counts[TrialState.FAILED])
    return f"more of the same would hardly help: {way}{why}"


def _load_line(result: Result, completion: Completion | None) -> list[str]:
    """How the model of the best trial, or of the first on the front, is loaded, if it has one."""
    if result.exit_code != ExitCode.GOAL_REACHED or not result.front:
        return []
    number = result.front[0].number
    which = "the best model" if len(result.front) == 1 else f"the model of trial {number}"
    if completion and number in completion.models:
        # A password is not shown; MLflow takes the address from its own variable then.
        at = "" if "***" in completion.uri else f'mlflow.set_tracking_uri("{completion.uri}"); '
        load = f'mlflow.pyfunc.load_model("{completion.models[number]}")'
        return [f"load {which}: import mlflow; {at}model = {load}"]
    weights = result.paths.model(number)
    if weights.exists():
        return [f'load the weights of {which}: import torch; torch.load("{weights}")']
    own = result.paths.user_checkpoint(number)
    return [f"what trial {number} kept: {own}"] if own.is_dir() and any(own.iterdir()) else []
