"""What the names of files spell."""

import pytest

from sweeper.config.file_pattern import FilePattern


def test_columns_stand_between_what_is_the_same_in_all_names() -> None:
    pattern = FilePattern.of("{split}/{digit}_{speaker}.v1.wav")
    assert pattern.columns == ("split", "digit", "speaker")
    assert pattern.match("train/3_theo.v1.wav") == ("train", "3", "theo")


@pytest.mark.parametrize(
    "path", ["a/3_theo_v1.wav", "3_theo.v1.wav", "a/b/3_x.v1.wav", "a/_x.v1.wav"]
)
def test_a_path_of_another_form(path: str) -> None:
    assert FilePattern.of("{split}/{digit}_{speaker}.v1.wav").match(path) is None


def test_a_path_that_fits_in_two_ways_is_told() -> None:
    pattern = FilePattern.of("{digit}_{speaker}_{take}.wav")
    with pytest.raises(ValueError, match="digit may be '3' or '3_van'"):
        pattern.match("3_van_gogh_1.wav")
    assert pattern.match("3_van-gogh_1.wav") == ("3", "van-gogh", "1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip.wav", "must be the path of a file below data.path with columns in braces, such"),
        ("{digit}_{}.wav", "with columns in braces"),
        ("{a b}_{c}.wav", "with columns in braces"),
        ("{a}{b}.wav", "must be a pattern with something between two columns"),
        ("{a}_{a}.wav", "must be a pattern of different columns: 'a' stands there twice"),
        ("{file}.wav", "must be a pattern of different columns: 'file' is the path itself"),
    ],
)  # fmt: skip
def test_a_pattern_that_says_nothing(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FilePattern.of(text)
