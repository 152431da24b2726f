"""The follow-ups of lesson 02 lean on development questions that exist and have an answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from workshop_utils.corpus import CorpusError
from workshop_utils.corpus.follow_ups import load_follow_ups

LINE = '{"id": "F-01", "after": "HR-01-q1", "asks": "HR-01-q5", "follow_up": "And?", "standalone": "How many?"}'


def test_each_asks_for_something_else_that_is_in_the_documents() -> None:
    found = load_follow_ups()
    assert len(found) >= 20
    assert len({f.id for f in found}) == len(found)
    assert len({f.follow_up for f in found}) == len(found)
    for f in found:
        assert f.after.fact != f.asks.fact
        assert f.asks.kind != "restricted"
        assert f.after.answerable
        assert f.asks.answerable
        assert f.standalone != f.follow_up


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (LINE.replace("HR-01-q5", "HR-01-q99"), "line 1: asks is 'HR-01-q99', which is no development question"),
        (LINE.replace('"after"', '"before"'), "line 1: the field 'after' is missing"),
        (LINE.replace('"id"', '"number": 1, "id"'), "line 1"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, fault: str) -> None:
    path = tmp_path / "follow_ups.jsonl"
    path.write_text(line, "utf-8")
    with pytest.raises(CorpusError, match=fault):
        load_follow_ups(path)
