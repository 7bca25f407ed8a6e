import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sweeper.commands.check.check import check_study
from sweeper.commands.init.proposal import Proposal
from sweeper.commands.init.propose import propose
from sweeper.commands.init.write import write_study
from sweeper.config.reader import load_study
from sweeper.errors import DataError, SpecError
from tests.support.wav_files import tone, write_wav


def written(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def values(proposal: Proposal) -> dict[str, Any]:
    return {key.name: key.value for key in proposal.keys if key.name != "path"}


def why(proposal: Proposal, name: str) -> str:
    return next(key.why for key in proposal.keys if key.name == name)


def test_a_table_is_told_with_what_to_learn_and_what_to_leave_out(tmp_path: Path) -> None:
    header = ["row", "day", "age", "job", "nothing", "class", "code"]
    rows = [
        [n, f"2024-01-{n % 28 + 1:02}", n % 7, "ab"[n % 2], "", "yn"[n % 3 % 2], f"x{n}"]
        for n in range(60)
    ]
    proposal = propose(written(tmp_path / "people.csv", header, rows))
    assert (proposal.kind, proposal.task) == ("table", "classification")
    assert values(proposal) == {
        "ignore": ["row", "day", "nothing", "code"],
        "target": "class",
    }
    assert why(proposal, "ignore") == "numbers of rows, dates, empty, ids"
    assert why(proposal, "target") == "guessed; others: age, job"
    assert proposal.about == f"{tmp_path / 'people.csv'}: 60 rows, 7 columns"


@pytest.mark.parametrize(
    ("target", "task", "stated"),
    [
        ([0.5, 1.5, 2.0], "regression", None),
        (["a", "b", "c"], "classification", None),
        ([1, 2, 3], "classification", "or regression: whole numbers from 1 to 3"),
        (range(2, 63, 2), "regression", "or classification: whole numbers from 2 to 62"),
    ],
)
def test_a_task_is_stated_where_a_study_file_must(
    tmp_path: Path, target: Sequence[object], task: str, stated: str | None
) -> None:
    rows = [[n % 5, target[n % len(target)]] for n in range(90)]
    proposal = propose(written(tmp_path / "rows.csv", ["size", "price"], rows))
    assert proposal.task == task
    assert values(proposal).get("task") == (task if stated else None)
    if stated:
        assert why(proposal, "task") == stated


@pytest.mark.parametrize(
    ("words", "validation", "test"),
    [
        (["train", "val", "test"], "val", "test"),
        (["Training", "Dev"], "Dev", None),
        (["train", "test"], None, "test"),
        (["left", "right"], None, None),
    ],
)
def test_rows_that_are_set_apart_are_held_out_or_not_read(
    tmp_path: Path, words: Sequence[str], validation: str | None, test: str | None
) -> None:
    rows = [[n % 5, "ab"[n % 2], words[n % len(words)]] for n in range(30)]
    proposal = propose(written(tmp_path / "rows.csv", ["size", "label", "split"], rows))
    found = {key: values(proposal).get(key) for key in ("validation", "test")}
    wanted = {"validation": validation, "test": test}
    assert found == {
        key: word and {"column": "split", "value": word} for key, word in wanted.items()
    }


def test_texts_are_told_from_categories_and_ids(tmp_path: Path) -> None:
    rows = [
        [f"u{n}", f"the {n} little pigs", "a b c"[n % 3 : n % 3 + 3], n % 2] for n in range(90)
    ]
    path = written(tmp_path / "rows.csv", ["user", "said", "mood", "intent"], rows)
    proposal = propose(path)
    assert proposal.kind == "text"
    assert values(proposal)["column"] == "said"
    assert values(proposal)["target"] == "intent"


def test_where_nothing_can_be_learned_the_columns_are_named(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.csv", ["id", "day"], [[n, "2024-01-02"] for n in range(9)])
    with pytest.raises(DataError, match="no column could be a target: id, day hold texts, dates"):
        propose(path)
    path = written(tmp_path / "rows.csv", ["a", "label"], [[n % 2, "same"] for n in range(9)])
    with pytest.raises(DataError, match="'label' holds same in every row"):
        propose(path)
    with pytest.raises(DataError, match="no such file"):
        propose(str(tmp_path / "absent.csv"))


def test_data_are_looked_for_where_a_study_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "rows.csv", ["age", "kind"], [[n % 7, "yn"[n % 2]] for n in range(60)])
    monkeypatch.setenv("SWEEPER_DATA", str(tmp_path))
    monkeypatch.chdir("/")
    proposal = propose("rows.csv")
    assert proposal.about == "rows.csv: 60 rows, 2 columns"
    assert next(key.value for key in proposal.keys if key.name == "path") == "rows.csv"
    with pytest.raises(DataError) as caught:
        propose("absent.csv")
    assert str(caught.value) == (
        f"--data: no such file: /absent.csv and {tmp_path}/absent.csv; give the path from where "
        "the command works, or from data.root or $SWEEPER_DATA if that is set"
    )


def test_numbers_with_commas_are_told(tmp_path: Path) -> None:
    path = tmp_path / "houses.csv"
    rows = [f"{row},{row % 10}5;{row}.5;{'ab'[row % 2]}" for row in range(100)]
    path.write_text("\n".join(["area;price;kind", *rows]))
    with pytest.raises(DataError) as caught:
        propose(str(path))
    assert str(caught.value) == (
        f"{path}: column 'area' holds numbers with commas, such as '0,05', which are taken for "
        "words; write them with a point, and nothing between thousands (pandas reads them by "
        "read_csv(FILE, sep=';', decimal=',', thousands='.'))"
    )


def clips(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        write_wav(folder / name, tone(440, 0.25))


def test_names_of_clips_spell_what_they_are(tmp_path: Path) -> None:
    clips(tmp_path / "said", [f"{n % 3}_{'ab'[n % 2]}_{n}.wav" for n in range(12)])
    proposal = propose(str(tmp_path / "said"))
    assert (proposal.kind, proposal.task) == ("audio", "classification")
    assert values(proposal) == {
        "pattern": "{part1}_{part2}_{part3}.wav",
        "target": "part1",
        "task": "classification",
        "sample_rate": 8000,
        "max_seconds": 0.25,
    }
    assert why(proposal, "target") == "guessed; others: part2"


def test_columns_without_a_name_are_left_out(tmp_path: Path) -> None:
    rows = [[n * 3 % 7, n * 0.5, "yn"[n % 2]] for n in range(6)]
    proposal = propose(written(tmp_path / "index.csv", ["", "age", "smokes"], rows))
    assert values(proposal) == {"ignore": [""], "target": "smokes"}
    assert why(proposal, "ignore") == "no name"
    assert why(proposal, "target") == "guessed; others: age"


def test_a_file_that_no_study_can_be_called_as_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "my study.yaml"
    with pytest.raises(SpecError) as caught:
        write_study(path)
    assert str(caught.value) == (
        f"{path}: a study has the name of its file, which must be up to 100 letters, digits, '.', "
        "'_' or '-', a letter or digit first; take another"
    )
    assert not path.exists()


def test_folders_are_classes(tmp_path: Path) -> None:
    clips(tmp_path / "said", [f"{'ab'[n % 2]}/{n}.wav" for n in range(6)])
    proposal = propose(str(tmp_path / "said"))
    assert values(proposal) == {"target": "label", "sample_rate": 8000, "max_seconds": 0.25}


def test_texts_in_folders_are_told(tmp_path: Path) -> None:
    for n in range(4):
        path = tmp_path / "mails" / ("spam", "ham")[n % 2] / f"{n}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("some words")
    proposal = propose(str(tmp_path / "mails"))
    assert (proposal.kind, values(proposal)) == ("text", {"target": "label"})


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([(12, 10)], None),
        ([(12, 10), (20, 16)], "they are from 10 x 12 to 16 x 20"),
        ([(300, 200)], "they are 200 x 300"),
    ],
)
def test_pictures_are_brought_to_a_size_where_they_must(
    tmp_path: Path, sizes: Sequence[tuple[int, int]], said: str | None
) -> None:
    for n in range(4):
        path = tmp_path / "pets" / "ab"[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", sizes[n % len(sizes)]).save(path)
    proposal = propose(str(tmp_path / "pets"))
    assert proposal.kind == "images"
    assert values(proposal).get("size") == (64 if said else None)
    if said:
        assert why(proposal, "size") == said


def test_a_column_of_names_of_files_makes_clips_of_rows(tmp_path: Path) -> None:
    clips(tmp_path, [f"clips/{n}.wav" for n in range(60)])
    rows = [[f"clips/{n}.wav", "ab"[n % 2], f"{n % 7}"] for n in range(60)]
    proposal = propose(written(tmp_path / "rows.csv", ["clip", "word", "speaker"], rows))
    assert proposal.kind == "audio"
    assert values(proposal)["column"] == "clip"
    assert values(proposal)["target"] == "word"


def test_files_that_tell_nothing_are_refused(tmp_path: Path) -> None:
    clips(tmp_path / "said", ["a.wav", "b_c.wav"])
    with pytest.raises(DataError, match="neither the folders nor the names of the files tell"):
        propose(str(tmp_path / "said"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no file that ends in"):
        propose(str(tmp_path / "empty"))


def test_a_study_of_whatever_was_found_is_one_that_can_be_read(tmp_path: Path) -> None:
    clips(tmp_path / "said", [f"{n % 3}_{'ab'[n % 2]}_{n}.wav" for n in range(12)])
    rows = [[f"the {n} little pigs", "ab"[n % 2], ("train", "val")[n % 2]] for n in range(90)]
    texts = written(tmp_path / "texts.csv", ["said", "intent", "split"], rows)
    table = written(tmp_path / "rows.csv", ["a", "b"], [[n % 9, n % 2] for n in range(90)])
    for number, data in enumerate(
        [None, "table", "text", "audio", "images", texts, table, str(tmp_path / "said")]
    ):
        path = tmp_path / f"study{number}.yaml"
        write_study(path, data=data)
        assert load_study(path).n_trials == 20
    with pytest.raises(SpecError, match="exists already"):
        write_study(path)


def test_a_study_of_rows_runs(tmp_path: Path) -> None:
    rows = [[n % 9, "xyz"[n % 3], n % 2] for n in range(200)]
    data = written(tmp_path / "rows.csv", ["a", "b", "label"], rows)
    write_study(tmp_path / "study.yaml", data=data)
    lines = list(check_study(load_study(tmp_path / "study.yaml"), tmp_path / "mlruns", print))
    assert lines[-1].startswith("ready: ")
