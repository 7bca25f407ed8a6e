"""A trial that code of the user's own trains: a function, or a program."""

from sweeper.config.settings import FunctionConfig, TrialConfig
from sweeper.config.study import StudySpec
from sweeper.training.command import run_command
from sweeper.training.function import train_function
from sweeper.training.user_trial import UserTrial


def run_own_training(spec: StudySpec, config: TrialConfig, trial: UserTrial) -> None:
    """Train as ``train.function`` or ``train.command`` says; raises as either does."""
    if isinstance(config.train, FunctionConfig):
        train_function(config, trial)
    else:
        run_command(spec, config, trial)
