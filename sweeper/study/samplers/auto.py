"""What the sampler ``auto`` stands for, and what it takes when that gets too dear."""

from sweeper.config.study import StudySpec

#: Up to here gp beats tpe in a flat space (replayed on published tables of an MLP search).
GP_MOST_TRIALS = 200
#: What ``auto`` takes when asking costs more than a tenth of training.
CHEAPER = {"gp": "tpe", "tpe": "random"}


def choose_sampler(spec: StudySpec) -> tuple[str, str]:
    """The sampler that ``auto`` stands for in this study, and why."""
    if spec.sampler.name != "auto":
        return spec.sampler.name, "named in the study file"
    if not spec.ranges():
        return "random", "nothing is searched"
    if spec.is_conditional:
        return "tpe", "the space is conditional; gp would see only what all branches share"
    if spec.n_trials > GP_MOST_TRIALS:
        return "tpe", f"more than {GP_MOST_TRIALS} trials, where gp's asking gets slow"
    return "gp", f"a flat space and at most {GP_MOST_TRIALS} trials"
