"""What the sampler ``auto`` stands for, and what it takes when that gets too dear."""

from sweeper.config.study import StudySpec
from sweeper.study.samplers.optuna import GP_STARTUP

#: What ``auto`` takes when asking gets too dear; it took gp when older studies began.
CHEAPER = {"conditional_gp": "tpe", "gp": "tpe", "tpe": "random"}


def choose_sampler(spec: StudySpec) -> tuple[str, str]:
    """The sampler that ``auto`` stands for in this study, and why."""
    if spec.sampler.name != "auto":
        begins = f"; tpe draws until {GP_STARTUP} trials are complete"
        return (
            spec.sampler.name,
            "named in the study file" + (begins if spec.sampler.name == "gp" else ""),
        )
    if not spec.ranges():
        return "random", "nothing is searched"
    if len(spec.objective.metrics) > 1:
        return (
            "conditional_gp",
            "it weighs the metrics anew for each trial, in all branches at once",
        )
    return "conditional_gp", "it learns from every trial, pruned ones too, in all branches at once"
