"""Rankings without an index are those that a learner gets with one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.evaluation.compare.conftest import document, question
from tests.tiny import HashEmbedder
from workshop_utils.corpus import split_documents
from workshop_utils.retrieval import Bm25Retriever, DenseRetriever, build_index
from workshop_utils.retrieval.hybrid import CANDIDATES, HybridRetriever
from workshop_utils.retrieval.rankings import dense_rankings, hybrid_rankings

PASSAGES = split_documents([document(n) for n in range(30)], 60)
QUESTIONS = [replace(question(n), question=f"minutes for number {n}") for n in (3, 17, 25)]


def test_hybrid_rankings_are_those_of_the_retriever_on_an_index(tmp_path: Path) -> None:
    dense = DenseRetriever(index=build_index(PASSAGES, HashEmbedder(), tmp_path), k=CANDIDATES)
    retriever = HybridRetriever(dense=dense, lexical=Bm25Retriever(passages=PASSAGES, k=CANDIDATES), k=5)
    rankings = hybrid_rankings(QUESTIONS, PASSAGES, HashEmbedder(), 5)
    for asked, ranking in zip(QUESTIONS, rankings, strict=True):
        assert [one.id for one in ranking] == [one.id for one in retriever.invoke(asked.question)]
    by_meaning = dense_rankings(QUESTIONS, PASSAGES, HashEmbedder(), 5)
    assert [[one.id for one in ranking] for ranking in by_meaning] != [[one.id for one in r] for r in rankings]
