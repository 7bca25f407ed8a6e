"""A study that has many finished trials already, in a journal file or in PostgreSQL."""

from dataclasses import dataclass
from pathlib import Path
from random import Random

import optuna
import sqlalchemy
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial

from sweeper.config.reader import parse_study
from sweeper.config.study import StudySpec
from sweeper.paths import RunPaths
from sweeper.study.create import create_study
from sweeper.study.samplers.optuna import to_distribution
from sweeper.study.storage.backend import open_storage
from sweeper.study.study import SweepStudy

#: Flat, as a search without branches is.
STUDY = """
name: after_{n_before}
budget: {{trials: {goal}}}
sampler: {{name: {sampler}}}
pruner: {{name: none}}
storage: "{storage}"
data: {{name: digits}}
model:
  architecture: mlp
  width: {{low: 16, high: 512, log: true}}
  dropout: {{low: 0.0, high: 0.5}}
train:
  epochs: 1
  learning_rate: {{low: 1e-4, high: 1e-1, log: true}}
  momentum: {{low: 0.0, high: 0.99}}
  l1: {{low: 1e-7, high: 1e-3, log: true}}
  l2: {{low: 1e-7, high: 1e-2, log: true}}
"""
#: Trials made one by one through Optuna, which takes PostgreSQL 10 ms each; then SQL copies them.
_MODELS = 100
#: Each copy takes each of its parameters from another of the models.
_COPIES = """
INSERT INTO trials (number, study_id, state, datetime_start, datetime_complete)
SELECT g, t.study_id, t.state, t.datetime_start, t.datetime_complete
FROM trials t, generate_series(:models, :n - 1) g WHERE t.study_id = :study AND t.number = 0;
INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json)
SELECT t.trial_id, p.param_name, p.param_value, p.distribution_json
FROM trials t, trials m, trial_params p
WHERE t.study_id = :study AND t.number >= :models AND m.study_id = :study
AND m.number = (hashtext(t.number || p.param_name) & 65535) % :models AND p.trial_id = m.trial_id;
INSERT INTO trial_values (trial_id, objective, value, value_type)
SELECT t.trial_id, 0, random(), v.value_type FROM trials t, trials m, trial_values v
WHERE t.study_id = :study AND t.number >= :models
AND m.study_id = :study AND m.number = 0 AND v.trial_id = m.trial_id
"""


@dataclass(frozen=True)
class LongStudy:
    """Where it lies and how long it is.

    Attributes:
        folder: In which ``mlruns`` lies.
        storage: As in a study file.
        n_before: Finished trials that it begins with.
        n_more: Trials for which its goal leaves room.
    """

    folder: Path
    storage: str
    n_before: int
    n_more: int

    def begin(self) -> None:
        """Create it, with random settings and values."""
        spec = self._load("random")
        study = create_study(spec, RunPaths(self.folder / "mlruns", spec.name))
        is_journal = self.storage == "auto"
        n_models = self.n_before if is_journal else min(self.n_before, _MODELS)
        for trial in random_trials(spec, n_models):
            study.storage.create_new_trial(study.study_id, trial)
        if n_models == self.n_before:
            return
        engine = sqlalchemy.create_engine(self.storage)
        values = {"models": n_models, "n": self.n_before, "study": study.study_id}
        with engine.begin() as connection:
            for statement in _COPIES.split(";"):
                connection.execute(sqlalchemy.text(statement), values)
        engine.dispose()

    def open(self, sampler: str, like: SweepStudy | None = None) -> SweepStudy:
        """Open it with a sampler; in the same storage as ``like``, which then knows its trials."""
        spec = self._load(sampler)
        paths = RunPaths(self.folder / "mlruns", spec.name)
        study = SweepStudy(spec, paths, like.storage if like else open_storage(spec, paths))
        study.cache.look()
        return study

    def _load(self, sampler: str) -> StudySpec:
        text = STUDY.format(
            n_before=self.n_before,
            goal=self.n_before + self.n_more,
            sampler=sampler,
            storage=self.storage,
        )
        return parse_study(text, self.folder / "study.yaml")


def random_trials(spec: StudySpec, n: int) -> list[FrozenTrial]:
    """Complete trials of random settings and values."""
    distributions = {name: to_distribution(values) for name, values in spec.ranges().items()}
    generator = Random(0)
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    for _ in range(n):
        study.tell(study.ask(distributions), generator.random())
    return study.get_trials(deepcopy=False)
