import sweeper
from tests.support.spec_files import STUDIES


def small(**train: object) -> sweeper.Study:
    return sweeper.Study(
        name="small",
        data={"name": "digits"},
        model={"architecture": "mlp"},
        train=train,
        budget={"trials": 3},
    )


def test_a_study_says_what_it_is_and_shows_what_it_searches() -> None:
    study = small(learning_rate={"low": 1e-4, "high": 0.1, "log": True})
    assert repr(study) == "<sweeper.Study small: 3 trials, maximize val_accuracy, 1 range>"
    assert study._repr_html_() == (
        "<p>small: 3 trials, maximize val_accuracy, 1 range</p>"
        "<table><thead><tr><th>searched</th><th>values</th></tr></thead><tbody>"
        "<tr><td>train.learning_rate</td><td>{low: 0.0001, high: 0.1, log: true}</td></tr>"
        "</tbody></table>"
    )


def test_a_file_is_the_same() -> None:
    [path] = [path for path in STUDIES if path.stem == "digits"]
    study = sweeper.load(path, ["budget.trials=3"])
    assert repr(study).startswith("<sweeper.Study digits: 3 trials, ")
