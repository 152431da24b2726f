"""Rankings against the evidence of questions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from langchain_core.documents import Document

from tests.tiny import HashEmbedder
from workshop_utils.corpus import Question, load_documents, split_documents
from workshop_utils.corpus.questions import Evidence, golden_passages
from workshop_utils.evaluation.rankings import answerable_questions, score_rankings
from workshop_utils.retrieval.rankings import dense_rankings

QUESTION = Question(
    id="KB-1-q1",
    question="How long?",
    answer="17 minutes",
    accept=(),
    kind="single",
    sources=("KB-1",),
    evidence=(Evidence("KB-1", "Wait 17 minutes.\nThen go on."),),
    choices=(),
    choice=None,
    family="KB-1",
)


def passage(key: str, text: str, source: str = "KB-1") -> Document:
    return Document(id=key, page_content=text, metadata={"source": source})


def test_evidence_is_a_span_of_its_own_document_whatever_the_white_space() -> None:
    passages = [
        passage("whole", "Waiting\nWait 17 minutes.\nThen go on."),
        passage("other lines", "Waiting\nWait 17  minutes. Then\n\ngo on. And stop."),
        passage("cut", "Waiting\nWait 17 minutes."),
        passage("other document", "Waiting\nWait 17 minutes.\nThen go on.", "KB-2"),
    ]
    assert golden_passages(QUESTION, passages) == {"whole", "other lines"}
    two = replace(QUESTION, evidence=(*QUESTION.evidence, Evidence("KB-2", "Wait 17 minutes.")))
    assert golden_passages(two, passages) == {"whole", "other lines", "other document"}


def test_scores_of_a_ranking_by_hand() -> None:
    scores = score_rankings([["x", "a", "y", "b"], ["x"], [], ["z"]], [{"a", "b"}, {"a"}, {"a"}, set()])
    assert scores["hit@1"] == [0, 0, 0, 0]
    assert scores["hit@3"] == [1, 0, 0, 0]
    assert scores["MRR"] == [1 / 2, 0, 0, 0]
    # log2(3) and log2(5) discount the ranks 2 and 4; the best two places are not discounted and by log2(3)
    assert scores["nDCG@5"] == pytest.approx([(0.6309298 + 0.4306766) / 1.6309298, 0, 0, 0], abs=1e-6)
    with pytest.raises(ValueError, match="shorter"):
        score_rankings([["a"]], [])
    with pytest.raises(ValueError, match="retrieved twice"):
        score_rankings([["a", "a"]], [{"a"}])


def test_dense_rankings_are_by_cosine_best_first() -> None:
    embedder = HashEmbedder()
    passages = [passage(f"p{n}", f"text {n}") for n in range(20)]
    wanted = passages[7].page_content
    (ranking,) = dense_rankings([replace(QUESTION, question=wanted)], passages, embedder, 5)
    assert ranking[0].id == "p7"
    scores = [found.metadata["score"] for found in ranking]
    assert scores[0] == pytest.approx(1)
    assert scores == sorted(scores, reverse=True)
    assert len(ranking) == 5
    assert "score" not in passages[7].metadata


def test_answerable_questions_have_evidence_that_some_passage_holds() -> None:
    questions = answerable_questions()
    assert {question.kind for question in questions} == {"single", "multi", "changed"}
    assert all(question.answerable for question in questions)
    passages = split_documents(load_documents(), 200)
    assert sum(bool(golden_passages(question, passages)) for question in questions) > 0.95 * len(questions)
