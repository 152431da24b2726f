"""The progress file survives what can happen to it."""

import os
from pathlib import Path

import pytest

from workshop_utils.exercises import record
from workshop_utils.exercises.record import Record


def test_keeps_what_was_done(progress_file: Path) -> None:
    assert record.load() == Record()
    record.mark_passed("a")
    record.mark_passed("b")
    record.mark_passed("a")
    assert [record.open_hint("a", 2) for _ in range(3)] == [1, 2, 2]
    record._in_session = Record()
    assert record.load() == Record(["a", "b"], {"a": 2})
    assert [p.name for p in progress_file.parent.iterdir()] == ["progress.json"]


@pytest.mark.parametrize(
    "broken",
    [
        *(b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"passed": 1, "hints": {}}', b'{"passed": [1], "hints": {}}'),
        *(b'{"passed": [], "hints": {"a": "b"}}', b'{"passed": [], "hints": {"a": -1}}', b'{"passed": []}'),
    ],
)
def test_a_broken_file_is_set_aside(progress_file: Path, broken: bytes) -> None:
    progress_file.parent.mkdir()
    for n in (1, 2):
        progress_file.write_bytes(broken)
        record._in_session = Record()
        record.mark_passed("a")
        assert progress_file.with_name(f"progress.broken-{n}.json").read_bytes() == broken
        assert record.load() == Record(["a"])


def test_a_file_that_cannot_be_replaced_stays_whole(progress_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record.mark_passed("a")
    before = progress_file.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    record.mark_passed("b")
    assert progress_file.read_bytes() == before
    assert [p.name for p in progress_file.parent.iterdir()] == ["progress.json"]


def test_without_a_place_to_write_the_session_remembers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.delenv("WORKSHOP_TEST", raising=False)
    monkeypatch.setattr(record, "_in_session", Record())
    monkeypatch.setattr(record, "file", lambda: tmp_path / "file" / "progress.json")
    record.mark_passed("a")
    assert [record.open_hint("a", 3) for _ in range(2)] == [1, 2]
    assert record.load() == Record(["a"], {"a": 2})


def test_under_test_nothing_is_written(progress_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSHOP_TEST", "1")
    record.mark_passed("a")
    assert record.load().passed == ["a"]
    assert not progress_file.exists()


def test_the_file_is_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSHOP_CACHE", str(tmp_path))
    assert os.fspath(record.file()) == os.fspath(tmp_path / "progress.json")
