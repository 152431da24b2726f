"""The study of freshness: its scoring on answers made by hand, and that the stored one is of this commit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document

from tests.serving import small_company
from tests.tiny import HashEmbedder
from workshop_utils.corpus import data_dir, load_documents, load_questions
from workshop_utils.corpus.questions import NO_ANSWER, Evidence
from workshop_utils.corpus.updates import documents_after, load_updates
from workshop_utils.corpus.versions import in_force
from workshop_utils.evaluation.studies import freshness as subject
from workshop_utils.evaluation.studies.freshness import SourceChange
from workshop_utils.evaluation.studies.living import LivingIndex

FIRST = replace(
    load_questions("dev", kinds=["changed"])[0],
    id="A-q1",
    answer="5 days",
    accept=(),
    sources=("A",),
    evidence=(Evidence("A", "Wait 5 days."),),
    family="A",
)
LATER = replace(FIRST, answer="7 days", evidence=(Evidence("A", "Wait 7 days."),))
GONE = replace(FIRST, answer=NO_ANSWER, sources=(), evidence=())


def passage(text: str, source: str = "A") -> Document:
    return Document(id=f"{source}#0", page_content=text, metadata={"source": source})


OLD, NEW = passage("Wait 5 days."), passage("Wait 7 days.")


@pytest.mark.parametrize(
    ("history", "found", "answer", "expected"),
    [
        ((FIRST,), OLD, "5 days", {"hit": [True], "correct": [True], "stale": []}),
        ((FIRST, LATER), NEW, "7 days", {"hit": [True], "correct": [True], "stale": [False]}),
        ((FIRST, LATER), OLD, "5 days", {"hit": [False], "correct": [False], "stale": [True]}),
        ((FIRST, LATER), OLD, "9 days", {"hit": [False], "correct": [False], "stale": [False]}),
        ((FIRST, LATER), NEW, "not 5 days but 7 days", {"hit": [True], "correct": [True], "stale": [False]}),
        ((FIRST, GONE), OLD, "5 days", {"hit": [], "correct": [], "stale": [True]}),
        ((FIRST, GONE), OLD, NO_ANSWER, {"hit": [], "correct": [], "stale": [False]}),
        ((GONE, FIRST), OLD, "5 days", {"hit": [True], "correct": [True], "stale": [False]}),
    ],
)
def test_a_state_of_the_stream(history: Any, found: Document, answer: str, expected: dict[str, list[bool]]) -> None:
    assert subject.score_state([history], [[found]], [answer]) == expected


def test_what_is_left_of_deleted_documents() -> None:
    questions = [FIRST] * 4
    found = [[OLD], [passage("Other.", "B")], [passage("Also 5 days.", "B")], [passage("Other.", "B")]]
    result = subject.deleted(questions, found, ["[1] 5 days", "5 days", "[1] 5 days", NO_ANSWER], {"A"})
    assert (result["passages"]["count"], result["answers"]["count"], result["coincidences"]) == (1, 1, 2)
    assert result["documents"] == 1


EDIT = SourceChange("edit", "A", "Confluence", "?", "5 days", "7 days", ("Wait 5 days", "Wait 7 days"))
DELETE = SourceChange("delete", "A", "Confluence", "?", "5 days", "")


@pytest.mark.parametrize(
    ("change", "held", "expected"),
    [
        (EDIT, ["Wait 7 days."], True),
        (EDIT, ["Wait 5 days."], False),
        (EDIT, ["Wait 7 days.", "Wait 5 days."], False),
        (EDIT, [], False),
        (DELETE, [], True),
        (DELETE, ["Wait 5 days."], False),
        (replace(EDIT, kind="add", texts=("T", "b")), ["7 days"], True),
        (replace(EDIT, kind="add", texts=("T", "b")), [], False),
    ],
)
def test_whether_the_index_follows(change: SourceChange, held: list[str], expected: bool) -> None:
    assert subject.follows(change, held) == expected


def test_the_changes_can_be_made_and_change_the_answer() -> None:
    documents = {str(one.id): one.page_content for one in documents_after(load_documents(), load_updates())}
    held_out = {source for question in load_questions("test") for source in question.sources}
    assert [kind for kind in subject.KINDS if not [c for c in subject.CHANGES if c.kind == kind]] == []
    for change in subject.CHANGES:
        assert change.document not in held_out
        if change.kind == "edit":
            assert change.texts[0] in documents[change.document]
            assert change.old in change.texts[0]
            assert change.new in change.texts[1]
            assert change.new not in documents[change.document]
        elif change.kind == "add":
            assert change.document not in documents
            assert change.new in change.texts[1]
        else:
            assert change.old in documents[change.document]


def test_the_right_version_comes_first() -> None:
    documents = {
        key: Document(id=key, page_content="x", metadata={"superseded_by": later})
        for key, later in (("A", "B"), ("B", None), ("C", None))
    }
    new, old, other = passage("Wait 7 days.", "B"), passage("Wait 5 days.", "A"), passage("x", "C")
    assert subject.score_versions(FIRST, [other, old, new], documents) == {"first": True, "hit1": False, "hit3": True}
    assert subject.score_versions(FIRST, [new, old], documents) == {"first": False, "hit1": False, "hit3": True}
    assert subject.score_versions(FIRST, [other], documents) == {"first": False, "hit1": False, "hit3": False}


def test_each_question_on_versions_has_a_day_on_which_its_version_was_in_force() -> None:
    documents = load_documents()
    asked = subject._version_questions()
    assert len(asked) > 40
    for question, day in asked:
        assert question.sources[0] in {document.id for document in in_force(documents, day)}


def result(**changes: Any) -> dict[str, Any]:
    figure = {"value": 0.5, "low": 0.4, "high": 0.6}
    return {
        "deleted": {"passages": {"count": 0}, "answers": {"count": 0}},
        "followed": {"edit": {"index": {"count": 3, "n": 3}}},
        "versions": {"as_of": {"hit3": {**figure, "low": 0.6}}},
        "difference": {"correct": {**figure, "low": 0.1}},
    } | changes


@pytest.mark.parametrize(
    ("changes", "claim", "expected"),
    [
        ({}, "R+2", "holds"),
        ({"deleted": {"passages": {"count": 0}, "answers": {"count": 1}}}, "R+2", "does not hold here"),
        ({"followed": {"edit": {"index": {"count": 2, "n": 3}}}}, "R+2", "does not hold here"),
        ({}, "RU3", "fits"),
        ({"versions": {"as_of": {"hit3": {"low": 0.1, "high": 0.4}}}}, "RU3", "does not fit here"),
        ({}, "RU4", "fits"),
        ({"difference": {"correct": {"low": -0.1, "high": 0.2}}}, "RU4", "not decidable here"),
    ],
)
def test_the_verdicts_follow_the_figures(changes: dict[str, Any], claim: str, expected: str) -> None:
    assert subject.verdicts(result(**changes))[claim] == expected


def test_the_living_index_follows_the_systems(tmp_path: Path) -> None:
    company = small_company.write(tmp_path / "company")
    with LivingIndex(tmp_path / "index", HashEmbedder(), data=company) as living:
        living.update()
        assert {p.metadata["source"] for p in living.retriever(("hr",), 50).search("x")[0]} == {"HR-02"}
        living.systems.restrict("HR-02", ["legal"])
        living.systems.delete("PM-01")
        report = living.update()
        assert (report.updated, report.deleted) == (1, 1)
        assert living.retriever(("hr",), 50).search("x")[0] == []
        assert "PM-01" not in {p.metadata["source"] for p in living.retriever(k=50).search("x")[0]}


AGAIN = "run: workshop bench freshness --json data/results/freshness.json"


def test_the_stored_study_is_up_to_date() -> None:
    path = data_dir() / "results" / "freshness.json"
    assert path.exists(), AGAIN
    stored = json.loads(path.read_text("utf-8"))
    assert stored["n"] == len(subject.changed_questions()), AGAIN
    assert len(stored["stream"]) == len(load_updates()) + 1, AGAIN
    assert stored["inputs"] == subject.inputs_hash(), AGAIN
