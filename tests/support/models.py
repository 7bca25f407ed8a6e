"""What tests of models count and measure."""

from collections.abc import Mapping

from torch import nn

from sweeper.training.learner import Batches, Learner
from sweeper.trial import DataInfo


def n_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def samples(shape: tuple[int, ...], dtype: str = "float32") -> DataInfo:
    """Data of one's own, of three classes."""
    return DataInfo("own", "0" * 16, shape, 3, 9, 3, input_dtype=dtype)


def evaluate(learner: Learner, batches: Batches) -> tuple[float, Mapping[str, float]]:
    """The loss and the metrics of a whole pass."""
    learner.evaluate(batches)
    return learner.end_evaluation()
