"""BM25 and fusion: rare words count, access is part of the search, ranks are fused as the paper says."""

from __future__ import annotations

import pytest
from langchain_core.documents import Document

from workshop_utils.retrieval import Bm25Retriever, reciprocal_rank_fusion


def passages() -> list[Document]:
    texts = {
        "a": ("The pump shows E-217 after a set change.", ["everyone"]),
        "b": ("The pump shows E-219 after a fall of the pump.", ["everyone"]),
        "c": ("E-217 in the secret report: E-217, E-217.", ["hr"]),
        "d": ("Leave is asked for in the staff portal.", ["everyone", "hr"]),
    }
    return [Document(id=key, page_content=text, metadata={"acl": acl}) for key, (text, acl) in texts.items()]


def ids(documents: list[Document]) -> list[str]:
    return [str(document.id) for document in documents]


def test_the_passage_with_the_rare_word_is_first() -> None:
    assert ids(Bm25Retriever(passages=passages()).invoke("pump with 217"))[0] == "a"
    assert ids(Bm25Retriever(passages=passages()).invoke("fall"))[0] == "b"


def test_scores_fall_and_passages_without_a_shared_word_do_not_come() -> None:
    found = Bm25Retriever(passages=passages(), k=4).invoke("pump 217")
    scores = [document.metadata["score"] for document in found]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) > 0
    assert "d" not in ids(found)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [(("everyone",), {"a"}), (("everyone", "hr"), {"a", "c"}), (("hr",), {"c"}), ((), set()), (None, {"a", "c"})],
)
def test_only_what_the_groups_may_read_is_found(groups: tuple[str, ...] | None, expected: set[str]) -> None:
    assert set(ids(Bm25Retriever(passages=passages(), groups=groups).invoke("217"))) == expected


def test_a_copy_for_other_groups_or_passages_finds_what_they_may_see() -> None:
    retriever = Bm25Retriever(passages=passages(), groups=("hr",))
    assert set(ids(retriever.invoke("217"))) == {"c"}
    assert set(ids(retriever.model_copy(update={"groups": ("everyone",)}).invoke("217"))) == {"a"}
    assert set(ids(retriever.model_copy(update={"passages": passages()[:2], "groups": None}).invoke("217"))) == {"a"}
    assert set(ids(retriever.invoke("217"))) == {"c"}


def test_k_passages_come_though_better_ones_are_hidden() -> None:
    assert ids(Bm25Retriever(passages=passages(), k=1).invoke("E-217 report"))[0] == "a"


@pytest.mark.parametrize("question", ["", "   ", "the of and", "xyzzy"])
def test_a_question_without_known_words_finds_nothing(question: str) -> None:
    assert Bm25Retriever(passages=passages()).invoke(question) == []


def test_the_stored_passages_stay_as_they_are() -> None:
    stored = passages()
    Bm25Retriever(passages=stored).invoke("pump")
    assert all("score" not in document.metadata for document in stored)


def test_fusion_sums_reciprocal_ranks() -> None:
    # b: 1/62 + 1/61, a: 1/61 + 1/63, c: 1/62, d: 1/63
    assert reciprocal_rank_fusion([["a", "b", "d"], ["b", "c", "a"]]) == ["b", "a", "c", "d"]
    assert reciprocal_rank_fusion([["a", "b"]]) == ["a", "b"]
    assert reciprocal_rank_fusion([["a"], ["b"]]) == ["a", "b"]
    assert reciprocal_rank_fusion([[], []]) == []
