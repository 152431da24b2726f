"""Hybrid search: both rankings count, and access rights are part of both searches."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.documents import Document

from tests.tiny import HashEmbedder
from workshop_utils.retrieval import Bm25Retriever, DenseRetriever, build_index
from workshop_utils.retrieval.hybrid import HybridRetriever, fusion_scores

ACLS = (["everyone"], ["hr"], ["everyone", "it"], ["it"])
PASSAGES = [
    Document(
        id=f"D-{n:02d}",
        page_content=f"The pump shows alarm {n}; see article {n % 5}.",
        metadata={"source": f"D-{n:02d}", "title": "Alarms", "acl": ACLS[n % 4]},
    )
    for n in range(24)
]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return build_index(PASSAGES, HashEmbedder(), tmp_path_factory.mktemp("index"))


def hybrid(index: Any, groups: tuple[str, ...] = ("everyone",), k: int = 3, depth: int = 20) -> HybridRetriever:
    dense = DenseRetriever(index=index, k=depth, groups=groups)
    return HybridRetriever(dense=dense, lexical=Bm25Retriever(passages=PASSAGES, k=depth, groups=groups), k=k)


def test_the_ranking_is_the_fusion_of_both(index: Any) -> None:
    retriever = hybrid(index, k=5)
    question = "alarm 8"
    dense = [str(p.id) for p in retriever.dense.search(question)[0]]
    lexical = [str(p.id) for p in retriever.lexical.search(question)[0]]
    expected = dict.fromkeys((*dense, *lexical), 0.0)
    for key in expected:
        expected[key] = sum(1 / (61 + ranking.index(key)) for ranking in (dense, lexical) if key in ranking)
    found, seconds = retriever.search(question)
    assert [p.metadata["score"] for p in found] == pytest.approx(sorted(expected.values(), reverse=True)[:5])
    assert [p.metadata["score"] for p in found] == pytest.approx([expected[str(p.id)] for p in found])
    assert dense != lexical
    assert {"embedding", "search"} == seconds.keys()
    assert [p.id for p in retriever.invoke(question)] == [p.id for p in found]


def test_what_only_one_search_finds_can_come(index: Any) -> None:
    rare = hybrid(index, k=24).invoke("zebra")
    assert len(rare) == 12  # BM25 knows no such word, the dense search returns all that may be read


@pytest.mark.parametrize(
    "groups", [("everyone",), ("hr",), ("it",), ("hr", "it"), ("everyone", "hr", "it"), ("board",), ()]
)
def test_nothing_comes_out_for_other_groups(index: Any, groups: tuple[str, ...]) -> None:
    readable = {p.id for p in PASSAGES if set(p.metadata["acl"]) & set(groups)}
    for question in ("alarm 1", "alarm 3 article 3", PASSAGES[1].page_content):
        found = hybrid(index, groups, k=50, depth=50).invoke(question)
        assert {p.id for p in found} == readable


@pytest.mark.parametrize("other", [None, ("everyone", "hr"), ()])
def test_both_searches_must_be_for_the_same_reader(index: Any, other: tuple[str, ...] | None) -> None:
    dense = DenseRetriever(index=index)
    with pytest.raises(ValueError, match="both must be for the same reader"):
        HybridRetriever(dense=dense, lexical=Bm25Retriever(passages=PASSAGES, groups=other))


def test_the_order_of_the_groups_does_not_matter(index: Any) -> None:
    dense = DenseRetriever(index=index, groups=("hr", "it"))
    HybridRetriever(dense=dense, lexical=Bm25Retriever(passages=PASSAGES, groups=("it", "hr")))


def test_fusion_scores_are_the_sums() -> None:
    scores = fusion_scores([["a", "b"], ["b"]])
    assert scores == pytest.approx({"a": 1 / 61, "b": 1 / 62 + 1 / 61})


def test_the_index_and_the_passages_stay_as_they_are(index: Any) -> None:
    hybrid(index).invoke("alarm 2")
    assert all("score" not in passage.metadata for passage in PASSAGES)
