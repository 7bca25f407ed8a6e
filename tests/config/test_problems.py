import pytest

from sweeper.config.problems import Origin, Problems, did_you_mean
from sweeper.errors import SpecError

METRICS = ("val_loss", "train_loss", "val_accuracy", "learning_rate", "epoch_seconds")


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("val_los", "; did you mean 'val_loss'?"),
        ("accuracy", "; did you mean 'val_accuracy'?"),
        ("Loss", "; did you mean 'train_loss' or 'val_loss'?"),
        ("lr", "; did you mean 'learning_rate'?"),
        ("f1", f"; known: {', '.join(sorted(METRICS))}"),
    ],
)
def test_the_nearest_words_are_shown_else_all(word: str, hint: str) -> None:
    assert did_you_mean(word, METRICS) == hint


def test_of_dotted_names_a_part_is_enough() -> None:
    names = ["train.learning_rate", "model.dropout", "model.architecture.mlp.dropout"]
    assert did_you_mean("dropout", names) == (
        "; did you mean 'model.architecture.mlp.dropout' or 'model.dropout'?"
    )


def test_a_part_of_many_names_says_nothing() -> None:
    assert did_you_mean("a", [f"a_{n}" for n in range(4)], otherwise="none") == "none"
    assert did_you_mean("x", [], otherwise="none") == "none"


def test_problems_come_source_by_source_each_in_its_order() -> None:
    problems = Problems()
    for origin in (Origin("s.yaml", 10), Origin("the study"), Origin("s.yaml", 9)):
        problems.add(origin, "train.epochs", "must be whole")
    with pytest.raises(SpecError) as caught:
        problems.raise_if_any()
    assert str(caught.value).splitlines() == [
        "s.yaml:9: train.epochs: must be whole",
        "s.yaml:10: train.epochs: must be whole",
        "the study: train.epochs: must be whole",
    ]
