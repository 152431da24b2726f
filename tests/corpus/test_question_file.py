"""Reading questions: a bad line is named by file and number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from workshop_utils.corpus import CorpusError, Evidence, load_questions

GOOD: dict[str, Any] = {
    "id": "HR-01-q1",
    "question": "How many days?",
    "answer": "25 days",
    "accept": ["25", "twenty-five"],
    "kind": "single",
    "sources": ["HR-01"],
    "evidence": [{"source": "HR-01", "span": "25 days of leave"}],
    "choices": ["20 days", "25 days", "28 days", "30 days"],
    "choice": 1,
    "family": "HR-01",
}


def write(folder: Path, *lines: str) -> Path:
    (folder / "dev.jsonl").write_text("".join(line + "\n" for line in lines), "utf-8")
    return folder


def test_a_question_keeps_all_its_fields(tmp_path: Path) -> None:
    (question,) = load_questions("dev", folder=write(tmp_path, json.dumps(GOOD)))
    assert question.accepted == ("25 days", "25", "twenty-five")
    assert question.evidence == (Evidence("HR-01", "25 days of leave"),)
    assert question.choices[question.choice or 0] == "25 days"
    assert question.collection_prefix == "HR"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"question": " "}, "must not be empty"),
        ({"answer": ""}, "must not be empty"),
        ({"kind": "hard"}, "'hard'; it must be one of single, multi"),
        ({"accept": "25"}, "accept must be a list of texts"),
        ({"sources": [1]}, "sources must be a list of texts"),
        ({"choices": None}, "choices must be a list of texts"),
        ({"evidence": [{"source": "HR-01"}]}, "span"),
        ({"evidence": ["HR-01"]}, "mapping"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_question_is_named_by_file_and_line(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    folder = write(tmp_path, json.dumps(GOOD), json.dumps({**GOOD, **changes}))
    with pytest.raises(CorpusError, match=f"dev.jsonl, line 2: .*{words}"):
        load_questions("dev", folder=folder)


@pytest.mark.parametrize("key", list(GOOD))
def test_a_missing_field_is_named(tmp_path: Path, key: str) -> None:
    folder = write(tmp_path, json.dumps({name: value for name, value in GOOD.items() if name != key}))
    with pytest.raises(CorpusError, match=f"line 1: .*'{key}'"):
        load_questions("dev", folder=folder)


@pytest.mark.parametrize("line", ["", "{", "null", "[1]", '"text"', "NaN x"])
def test_a_line_that_is_no_object_is_named(tmp_path: Path, line: str) -> None:
    folder = write(tmp_path, json.dumps(GOOD), json.dumps(GOOD), line, json.dumps(GOOD))
    with pytest.raises(CorpusError, match=r"dev.jsonl, line 3: "):
        load_questions("dev", folder=folder)


def test_a_line_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    (tmp_path / "dev.jsonl").write_bytes(json.dumps(GOOD).encode() + b'\n{"id": "caf\xe9"}\n')
    with pytest.raises(CorpusError, match=r"line 2: .*utf-8"):
        load_questions("dev", folder=tmp_path)


def test_line_separators_inside_a_text_end_no_line(tmp_path: Path) -> None:
    text = "one\u2028two\x85three\x0cfour"
    folder = write(tmp_path, json.dumps({**GOOD, "question": text}, ensure_ascii=False).replace("\\f", "\\u000c"))
    assert load_questions("dev", folder=folder)[0].question == text


def test_windows_line_ends_and_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "dev.jsonl").write_bytes(json.dumps(GOOD).encode() + b"\r\n" + json.dumps(GOOD).encode())
    assert len(load_questions("dev", folder=tmp_path)) == 2
    (tmp_path / "dev.jsonl").write_bytes(b"")
    assert load_questions("dev", folder=tmp_path) == []


def test_kinds_are_chosen_in_file_order(tmp_path: Path) -> None:
    lines = [
        json.dumps({**GOOD, "id": f"HR-01-q{n}", "kind": kind}) for n, kind in enumerate(["multi", "single", "multi"])
    ]
    folder = write(tmp_path, *lines)
    assert [q.id for q in load_questions("dev", folder=folder)] == ["HR-01-q0", "HR-01-q1", "HR-01-q2"]
    assert [q.id for q in load_questions("dev", kinds=["multi"], folder=folder)] == ["HR-01-q0", "HR-01-q2"]
    assert load_questions("dev", kinds=[], folder=folder) == []
