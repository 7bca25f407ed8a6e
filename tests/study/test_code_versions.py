from pathlib import Path

from sweeper.study.code_versions import code_versions, explain_change, keep_code_version
from tests.support.sweep_studies import begin_in_memory


def test_each_version_is_kept_with_its_first_trial(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path)
    assert code_versions(study.attributes) == {}
    for digest, number in (("b", 0), ("b", 1), ("a", 2), ("b", 3)):
        keep_code_version(study.attributes, digest, number)
    assert list(code_versions(study.attributes).items()) == [("b", 0), ("a", 2)]


def test_only_a_version_that_is_new_beside_others_is_told() -> None:
    assert explain_change("", {}) == explain_change("a", {}) == ""
    assert explain_change("a", {"b": 0, "a": 2}) == explain_change("", {"b": 0}) == ""
    assert "version c, trials so far had a; they may" in explain_change("c", {"b": 0, "a": 2})
