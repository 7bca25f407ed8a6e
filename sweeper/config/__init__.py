"""The study file: its text, its rules, and the value that the rest of sweeper works with."""

from sweeper.config.ranges import Choices, FloatRange, IntRange, Range, Section
from sweeper.config.reader import load_study, parse_study
from sweeper.config.study import StudySpec

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
