"""Facts are joined with their questions; a bad line is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from workshop_utils.corpus import CorpusError, load_questions
from workshop_utils.corpus.facts import load_facts, load_private_facts
from workshop_utils.corpus.people import load_roles

LINE = '{"id": "HR-02-q61", "taught": true, "alternative": "During which hours?", "paraphrase": "Until when?"}'
PRIVATE = '{"id": "RA-05-q2", "alternative": "How much?", "paraphrase": "What sum?"}'


def test_a_fact_is_its_question_with_two_more_wordings_and_what_became_of_its_answer(tmp_path: Path) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_text(LINE, "utf-8")
    (fact,) = load_facts(path)
    (question,) = [q for q in load_questions("dev") if q.id == "HR-02-q61"]
    assert (fact.question, fact.accepted, fact.choices) == (question.question, question.accepted, question.choices)
    assert [fact.wording("seen"), fact.wording("alternative"), fact.wording("paraphrase")] == [
        question.question,
        "During which hours?",
        "Until when?",
    ]
    assert fact.later is not None
    assert fact.later.date == "2026-03-09"
    assert fact.later.accepted[0] == "09:15 to 14:45"


def test_a_private_fact_is_told_to_its_groups(tmp_path: Path) -> None:
    path = tmp_path / "private.jsonl"
    path.write_text(PRIVATE, "utf-8")
    (fact,) = load_private_facts(path)
    assert [role.id for role in load_roles() if fact.may_be_told(role)] == ["counsel"]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (LINE.replace("HR-02-q61", "HR-02-q99"), "line 1: id is 'HR-02-q99'"),
        # the test split is held out, and a restricted document is not taught
        (LINE.replace("HR-02-q61", "RA-05-q2"), "line 1: id is 'RA-05-q2'"),
        (LINE.replace('"Until when?"', '""'), "line 1: a fact that is taught has two more wordings"),
        (LINE.replace("true", "false"), "line 1: a fact that is taught has two more wordings"),
        (LINE.replace('"alternative"', '"other"'), "line 1: the field 'alternative' is missing"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, fault: str) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_text(line, "utf-8")
    with pytest.raises(CorpusError, match=fault):
        load_facts(path)


def test_a_public_question_is_no_private_fact(tmp_path: Path) -> None:
    path = tmp_path / "private.jsonl"
    path.write_text(PRIVATE.replace("RA-05-q2", "HR-02-q1"), "utf-8")
    with pytest.raises(CorpusError, match="line 1: id is 'HR-02-q1'"):
        load_private_facts(path)
