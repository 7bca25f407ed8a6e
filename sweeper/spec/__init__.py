"""The study file: its text, its rules, and the value that the rest of sweeper works with."""

from sweeper.spec.ranges import Choices, FloatRange, IntRange, Range, Section
from sweeper.spec.reader import load_study, parse_study
from sweeper.spec.study import StudySpec

__all__ = [
    "Choices",
    "FloatRange",
    "IntRange",
    "Range",
    "Section",
    "StudySpec",
    "load_study",
    "parse_study",
]
