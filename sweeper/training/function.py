"""A user's own training routine: how it is called, and what its return means."""

import copy
from collections.abc import Mapping
from typing import Any

from torch import nn

from sweeper.config.references import load_reference
from sweeper.config.settings import DataConfig, FunctionConfig, ModelConfig, TrialConfig
from sweeper.errors import TrainingError, TrialInterrupted
from sweeper.timing import Entry
from sweeper.training.seed import seed_everything
from sweeper.training.user_trial import UserTrial
from sweeper.trial import Objective


def train_function(config: TrialConfig, trial: UserTrial) -> None:
    """Seed everything and call the user's ``run(params, trial)``.

    ``params`` is the study file's ``data``, ``model`` and ``train`` after sampling, plain dicts
    and lists of its own; a section that the file does not have is absent. A module that it returns
    is logged; anything else counts as the report of one epoch if it made none.

    Raises:
        TrainingError: If the function ends without a report.
        SpecError: If it cannot be imported.
        TrialInterrupted: If the function returned as it was told to stop; also from the reporter.
        TrialPruned, TrialDiverged: From the reporter.
    """
    assert isinstance(config.train, FunctionConfig)
    run = load_reference(config.train.function)
    sections = {"data": config.data, "model": config.model, "train": config.train}
    params = {name: _as_params(section) for name, section in sections.items() if section}
    seed_everything(config.seed)
    with trial.reporter.ledger.booked(Entry.STEP):
        returned = run(copy.deepcopy(params), trial)
    if trial.is_broken_off:
        raise TrialInterrupted("its function returned, as trial.is_stopping() had told it to")
    if _is_model(returned):
        _log_returned(returned, trial)
    elif not trial.history and returned is not None:
        trial.report(1, **_returned_metrics(config.train.function, returned, trial.objective))
    if not trial.history:
        raise TrainingError(
            f"train.function: {config.train.function} ended without a report; call "
            f"trial.report(epoch, {trial.objective.metrics[0]}=...) after each epoch"
        )


def _is_model(returned: object) -> bool:
    """Whether it is ``module``, or ``module, example``."""
    if isinstance(returned, tuple) and len(returned) == 2:
        return isinstance(returned[0], nn.Module)
    return isinstance(returned, nn.Module)


def _log_returned(returned: Any, trial: UserTrial) -> None:
    if isinstance(returned, tuple):
        trial.log_model(*returned)
    else:
        trial.log_returned(returned)


def _returned_metrics(reference: str, returned: object, objective: Objective) -> dict[str, Any]:
    """What a function means by a value that it returns, as an objective of Optuna does."""
    names = objective.metrics
    if isinstance(returned, Mapping):
        return dict(returned)
    values = returned if isinstance(returned, tuple | list) else (returned,)
    if len(values) != len(names):
        raise TrainingError(
            f"train.function: {reference} made no report and returned {len(values)} values; "
            f"wanted are {', '.join(names)}, in this order"
        )
    return dict(zip(names, values, strict=True))


def _as_params(section: DataConfig | ModelConfig | FunctionConfig) -> dict[str, Any]:
    named = {n: value for n, value in vars(section).items() if n not in ("params", "mlflow")}
    return named | dict(section.params)
