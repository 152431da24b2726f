"""The study of lesson 02: its scoring on answers made by hand, and that the stored one is of this commit."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel

from workshop_utils.corpus import Question, data_dir
from workshop_utils.corpus.questions import Evidence
from workshop_utils.evaluation.rankings import answerable_questions
from workshop_utils.evaluation.studies import langchain as subject
from workshop_utils.models import load_llm
from workshop_utils.rag import Prompt, Rag, RagAnswer, Source, load_rag

QUESTION = Question(
    id="KB-1-q1",
    question="How long?",
    answer="17 minutes",
    accept=("17 min",),
    kind="single",
    sources=("KB-1",),
    evidence=(Evidence("KB-1", "Wait 17 minutes."),),
    choices=(),
    choice=None,
    family="KB-1",
)
PASSAGE = "About > Waiting\nWait 17 minutes."


def answer(text: str, *, cited: tuple[str, ...] = (), read: int = 2, order: str = "GB") -> RagAnswer:
    """An answer to QUESTION over two sources: G holds the evidence, B has the same words of another document."""
    documents = {"G": "KB-1", "B": "KB-2"}
    sources = tuple(
        Source(str(n), f"{documents[c]}#0", documents[c], "About", PASSAGE, 0.5, n <= read)
        for n, c in enumerate(order, start=1)
    )
    return RagAnswer(QUESTION.question, text, sources, cited, (), {"generation": 1.0}, 10)


def test_finding_and_reading_are_told_apart() -> None:
    answers = [
        answer("17 minutes"),  # found and read
        answer("20 minutes"),  # found and misread
        answer("17 minutes", read=1, order="BG"),  # retrieved, but not given to the model
    ]
    use = subject._use("support", [replace(QUESTION, family=str(n)) for n in range(3)], answers)
    assert use["correct"]["value"] == pytest.approx(2 / 3)
    assert use["found"]["value"] == pytest.approx(2 / 3)
    assert use["correct_given_found"]["value"] == pytest.approx(1 / 2)
    assert use["correct_given_found"]["n"] == 2


def test_a_use_takes_its_own_collections_only() -> None:
    hr = replace(QUESTION, id="HR-1-q1")
    assert subject._use("documentation", [QUESTION, hr], [answer("17 minutes"), answer("no")])["correct"]["n"] == 1


def test_sources_are_judged_by_document_and_span() -> None:
    sources = subject._sources([QUESTION], [answer("17 minutes")])
    assert sources["precision"]["value"] == pytest.approx(1 / 2)
    assert sources["found"]["value"] == 1


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.51, 0.8, "fits"), (0.2, 0.49, "does not fit here"), (0.4, 0.6, "not decidable here")],
)
def test_the_verdict_follows_the_interval(low: float, high: float, expected: str) -> None:
    assert subject.verdict({"low": low, "high": high}) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"answer": "17", "sources": ["2"]}', (True, "17", ("2",))),
        ('{"answer": "17", "sources": []}', (True, "17", ())),
        ('{"answer": "17", "sources": ["9"]}', (False, "", ())),
        ('{"answer": 17, "sources": ["2"]}', (False, "", ())),
        ('{"answer": "17", "sources": "2"}', (False, "", ())),
        ('{"answer": "17"}', (False, "", ())),
        ('{"answer": "17", "sour', (False, "", ())),
        ('["17"]', (False, "", ())),
        ("17 minutes [2]", (False, "", ())),
    ],
)
def test_what_counts_as_the_form(text: str, expected: Any) -> None:
    assert subject._as_json(text, ["1", "2"]) == expected


class Retriever:
    """Finds the same two passages for every question."""

    def search(self, question: str) -> tuple[list[Document], dict[str, float]]:
        found = [Document(id="KB-2#0", page_content="About\nNothing."), Document(id="KB-1#0", page_content=PASSAGE)]
        return found, {"search": float(not question)}


@pytest.mark.parametrize(
    ("written", "valid", "cited"),
    [("17 minutes [2]", {"code", "grammar"}, True), ('{"answer": "17 minutes", "sources": ["1"]}', {"asked"}, False)],
)
def test_each_form_is_scored_in_its_own_way(written: str, valid: set[str], cited: bool) -> None:
    llm = FakeListChatModel(responses=[written])
    rag = Rag(Retriever(), llm, Prompt(numbered=True), read=2)  # type: ignore[arg-type]
    rows = subject._forms(rag, llm, [QUESTION])
    for name in valid:
        assert rows[name]["valid"]["value"] == 1
        assert rows[name]["correct"]["value"] == 1
        assert rows[name]["cited"]["value"] == cited
    assert rows["asked"]["valid"]["value"] == rows["schema"]["valid"]["value"] == ("asked" in valid)


def test_langchains_splitter_loses_headers_and_ours_does_not() -> None:
    rows = "\n".join(f"| T-{n} | {'a long meaning ' * 4} |" for n in range(12))
    text = f"# Alarms\n\n## Codes\n\n| Code | Meaning |\n|---|---|\n{rows}\n"
    splitters = subject.splitters()
    document = Document(id="X", page_content=text, metadata={"title": "Alarms"})
    made = {name: [p.page_content for p in split(document)] for name, split in splitters.items()}
    assert any("|---" not in text for text in made["headings"])
    assert all("|---" in text for text in made["ours"])
    assert all(text.startswith("Alarms > Codes\n") for text in made["headings_in_text"])


def test_evidence_is_found_across_line_ends_and_not_when_cut() -> None:
    assert subject.span_in(QUESTION, "Wait 17\nminutes.")
    assert not subject.span_in(QUESTION, "Wait 17")


def test_the_stored_study_is_up_to_date() -> None:
    stored = json.loads((data_dir() / "results" / "langchain.json").read_text("utf-8"))
    again = "run: workshop bench langchain --json data/results/langchain.json"
    assert stored["n"] == len(answerable_questions()), again
    assert stored["inputs"] == subject.inputs_hash(load_rag(load_llm(max_tokens=subject.MAX_TOKENS))), again
