"""Questions that teach documents: a bad line is named, and nothing of a document that is not public can be one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workshop_utils.corpus import CorpusError
from workshop_utils.corpus.knowledge import TaughtQuestion, load_knowledge

LINE = {
    "id": "KN-HR-01-1",
    "document": "HR-01",
    "question": "On which extension is the leave desk?",
    "answer": "ext. 2214",
    "span": "Questions go to the leave desk of the People team, ext. 2214.",
}


def written(folder: Path, **changed: str) -> Path:
    path = folder / "train.jsonl"
    path.write_text(json.dumps(LINE | changed) + "\n", "utf-8")
    return path


def test_a_line_is_a_question(tmp_path: Path) -> None:
    assert load_knowledge(written(tmp_path)) == [TaughtQuestion(**LINE)]


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"document": "HR-08"}, "line 1: document is 'HR-08', which is no public document"),
        ({"document": "HR-99"}, "line 1: document is 'HR-99'"),
        ({"document": "HR-02"}, "line 1: the span is not in HR-02"),
        ({"answer": "ext. 2215"}, "line 1: the answer is not in its span: 'ext. 2215'"),
        ({"answer": " "}, "line 1: question and answer must not be empty"),
        ({"question": ""}, "line 1: question and answer must not be empty"),
        ({"family": "HR-01"}, "line 1: .*family"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, changed: dict[str, str], fault: str) -> None:
    with pytest.raises(CorpusError, match=fault):
        load_knowledge(written(tmp_path, **changed))
