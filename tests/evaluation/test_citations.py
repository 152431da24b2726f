"""Citations: a passage counts when it holds the evidence, not when it looks like it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from workshop_utils.corpus import Evidence, Question
from workshop_utils.evaluation.citations import CitationScore, citation_estimates, score_citations
from workshop_utils.rag import RagAnswer, Source

SPANS = (Evidence("HR-01", "25 days"), Evidence("HR-02", "10 days before"))


def question(evidence: Sequence[Evidence] = SPANS, sources: Sequence[str] = ("HR-01", "HR-02")) -> Question:
    return Question("q", "How?", "25 days", (), "multi", tuple(sources), tuple(evidence), (), None, "f")


def answer(cited: Sequence[str], unknown: Sequence[str] = (), read: int = 5) -> RagAnswer:
    texts = [
        ("HR-01", "Leave is 25 days a year."),
        ("HR-01", "Leave is asked for in the portal."),
        ("HR-02", "Ask 10 days before."),
        ("HR-99", "Trainees have 25 days."),
        ("HR-01", "In short: 25 days."),
    ]
    sources = tuple(
        Source(str(n), f"{key}#{n}", key, "Leave", text, 0.5, n <= read) for n, (key, text) in enumerate(texts, start=1)
    )
    return RagAnswer("How?", "text", sources, tuple(cited), tuple(unknown), {}, 0)


def test_evidence_is_in_its_own_document_word_for_word_and_was_read() -> None:
    assert score_citations(answer([]), question()).evidence == {"1", "3", "5"}
    assert score_citations(answer([], read=3), question()).evidence == {"1", "3"}
    assert score_citations(answer([]), question([Evidence("HR-01", "25 Days")])).evidence == frozenset()


def test_a_question_without_spans_counts_its_documents() -> None:
    assert score_citations(answer([]), question(evidence=(), sources=["HR-01"])).evidence == {"1", "2", "5"}
    assert score_citations(answer([]), question(evidence=(), sources=())).evidence == frozenset()


@pytest.mark.parametrize(
    ("cited", "unknown", "precision", "recall", "right"),
    [
        ([], [], None, 0, False),
        (["1"], [], 1, 1 / 3, True),
        (["1", "3", "5"], [], 1, 1, True),
        (["1", "2"], [], 1 / 2, 1 / 3, False),
        (["4"], [], 0, 0, False),
        (["1"], ["HR-77"], 1 / 2, 1 / 3, False),
        ([], ["HR-77"], 0, 0, False),
    ],
)
def test_precision_recall_and_right(
    cited: list[str], unknown: list[str], precision: float | None, recall: float, right: bool
) -> None:
    score = score_citations(answer(cited, unknown), question())
    assert score.precision == pytest.approx(precision)
    assert score.recall == pytest.approx(recall)
    assert score.right is right


def test_without_evidence_among_the_passages_there_is_no_recall() -> None:
    score = score_citations(answer(["1"]), question([Evidence("HR-01", "30 days")]))
    assert (score.precision, score.recall, score.right) == (0, None, False)


def test_means_are_over_the_answers_that_have_the_number() -> None:
    one, two, nothing = frozenset("1"), frozenset("12"), frozenset[str]()
    scores = [
        CitationScore(cited=two, evidence=one),  # precision 1/2, recall 1
        CitationScore(cited=one, evidence=two),  # precision 1, recall 1/2, right
        CitationScore(cited=nothing, evidence=one),  # recall 0
        CitationScore(cited=one, evidence=nothing),  # precision 0
    ]
    estimates = citation_estimates(scores)
    assert {name: (estimate.value, estimate.n) for name, estimate in estimates.items()} == {
        "right": (1 / 4, 4),
        "precision": (1 / 2, 3),
        "recall": (1 / 2, 3),
    }
    assert citation_estimates([CitationScore(nothing, nothing)]).keys() == {"right"}
    family = citation_estimates(scores, ["one"] * 4)["right"]
    assert (family.low, family.high) == (0, 1)
    with pytest.raises(ValueError, match=r"shorter|longer"):
        citation_estimates(scores, ["one"])
