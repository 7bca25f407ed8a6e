"""What the sampler ``auto`` stands for, and what it takes when that gets too dear."""

from collections.abc import Mapping, Sequence

from sweeper.config.study import StudySpec

#: What ``auto`` takes when asking gets too dear; it took gp when older studies began.
CHEAPER = {"conditional_gp": "tpe", "gp": "tpe", "tpe": "random"}
#: Complete trials before gp draws; Optuna's own number, without which it would draw at random.
GP_STARTUP = 10
#: What a sampler imports when it draws, if that takes a good part of a second.
_MODULES: Mapping[str, Sequence[str]] = {
    "conditional_gp": ("sweeper.study.samplers.conditional_gp", "scipy.stats"),
    "gp": ("scipy.optimize", "scipy.stats"),
    "qmc": ("scipy.stats",),
}


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


def drawing_modules(spec: StudySpec) -> Sequence[str]:
    """What a worker of this study is going to import to draw, and others do without."""
    return _MODULES.get(choose_sampler(spec)[0], ())
