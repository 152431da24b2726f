"""Rerankers: what they score is what their papers say, and they put the passage that answers first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage

from tests.tiny import HashEmbedder
from workshop_utils.errors import InputError
from workshop_utils.models import load_embedder
from workshop_utils.models.sentence_embedder import SentenceEmbedder
from workshop_utils.models.transformers_chat import ChatTransformers, ContextExceededError
from workshop_utils.retrieval import DenseRetriever, build_index, rerank
from workshop_utils.retrieval.rerank import (
    QUERY_LIKELIHOOD_PROMPT,
    CrossEncoderReranker,
    LateInteractionReranker,
    QueryLikelihoodReranker,
    Reranker,
    RerankingRetriever,
)

QUESTION = "How long does the battery of the pump last?"
TEXTS = [
    "Leave is asked for in the staff portal, at the latest 10 days before.",
    "The battery lasts 6 hours and is charged in 3 hours.",
    "The canteen opens at 11:30. On Fridays there is fish, and on Mondays there is soup for those who come early.",
    "The pump is cleaned with a damp cloth.",
]


class ByLength(Reranker):
    """Longer is better."""

    def scores(self, question: str, passages: Sequence[str]) -> list[float]:  # noqa: ARG002
        return [float(len(passage)) for passage in passages]


@pytest.fixture(scope="module")
def embedder() -> SentenceEmbedder:
    return load_embedder()


def passages(*texts: str) -> list[Document]:
    return [Document(id=f"P{n}", page_content=text, metadata={"score": 0.5}) for n, text in enumerate(texts)]


def test_passages_come_best_first_with_their_scores_and_ties_in_order() -> None:
    given = passages("aa", "b", "cccc", "dd")
    found = ByLength().rerank("?", given)
    assert [p.id for p in found] == ["P2", "P0", "P3", "P1"]
    assert [p.metadata["score"] for p in found] == [4, 2, 2, 1]
    assert {p.metadata["score"] for p in given} == {0.5}
    assert ByLength().rerank("?", []) == []


# -- late interaction --


def test_late_interaction_is_the_mean_of_best_matches_token_by_token(embedder: SentenceEmbedder) -> None:
    expected = []
    for text in TEXTS:
        asked, read = (
            embedder._client.encode(one, output_value="token_embeddings").float().numpy() for one in (QUESTION, text)
        )
        best = [max(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for b in read) for a in asked]
        expected.append(sum(best) / len(best))
    assert LateInteractionReranker(embedder).scores(QUESTION, TEXTS) == pytest.approx(expected, abs=1e-4)


def test_late_interaction_finds_the_answer_and_knows_its_own_text(embedder: SentenceEmbedder) -> None:
    reranker = LateInteractionReranker(embedder)
    assert reranker.rerank(QUESTION, passages(*TEXTS))[0].id == "P1"
    assert reranker.scores(QUESTION, [QUESTION])[0] == pytest.approx(1, abs=1e-5)
    assert reranker.rerank(QUESTION, []) == []


# -- query likelihood --


def test_query_likelihood_is_the_models_log_probability_per_token(llm: ChatTransformers) -> None:
    scores = QueryLikelihoodReranker(llm).scores(QUESTION, TEXTS)
    tokens = llm.count_tokens(QUESTION)
    for score, text in zip(scores, TEXTS, strict=True):
        (alone,) = llm.logprobs([HumanMessage(QUERY_LIKELIHOOD_PROMPT.format(passage=text))], [QUESTION])
        assert score == pytest.approx(alone / tokens, abs=1e-3)
    found = QueryLikelihoodReranker(llm).rerank(QUESTION, passages(*TEXTS))
    assert {p.id for p in found[:2]} == {"P1", "P3"}  # battery and pump before leave and canteen


def test_batches_change_nothing_but_the_time(llm: ChatTransformers, monkeypatch: pytest.MonkeyPatch) -> None:
    together = QueryLikelihoodReranker(llm).scores(QUESTION, TEXTS)
    monkeypatch.setattr(rerank, "TOKENS_PER_BATCH", 1)
    assert QueryLikelihoodReranker(llm).scores(QUESTION, TEXTS) == pytest.approx(together, abs=1e-3)


def test_query_likelihood_refuses_what_it_cannot_score(llm: ChatTransformers) -> None:
    with pytest.raises(InputError, match="empty"):
        QueryLikelihoodReranker(llm).scores("  ", TEXTS)
    with pytest.raises(ContextExceededError):
        QueryLikelihoodReranker(llm).scores(QUESTION, ["word " * 10_000])


# -- cross-encoder --


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT with one output and the embedder's tokenizer."""
    import transformers

    from workshop_utils.models import store

    folder = tmp_path_factory.mktemp("cross")
    tokenizer = transformers.AutoTokenizer.from_pretrained(store.embedder_dir())
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        initializer_range=0.5,
    )
    config.num_labels = 1
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_the_cross_encoder_reads_question_and_passage_together(cross_encoder: Path) -> None:
    reranker = CrossEncoderReranker(cross_encoder)
    scores = reranker.scores(QUESTION, TEXTS)
    assert len(set(scores)) == len(TEXTS)
    assert all(math.isfinite(score) for score in scores)
    assert reranker.scores("Something else", TEXTS) != scores
    assert [p.metadata["score"] for p in reranker.rerank(QUESTION, passages(*TEXTS))] == sorted(scores, reverse=True)


def test_without_a_folder_there_is_no_cross_encoder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a folder"):
        CrossEncoderReranker(tmp_path / "none")


# -- the retriever --


def test_the_retriever_reranks_what_was_found_and_returns_k(tmp_path: Path) -> None:
    documents = [
        Document(id=f"D-{n:02d}", page_content="x" * n, metadata={"acl": ["everyone" if n % 2 else "hr"]})
        for n in range(1, 41)
    ]
    index = build_index(documents, HashEmbedder(), tmp_path)
    dense = DenseRetriever(index=index, k=8)
    candidates = dense.invoke("anything")
    retriever = RerankingRetriever(retriever=dense, reranker=ByLength(), k=3)
    found, seconds = retriever.search("anything")
    assert [p.metadata["score"] for p in found] == sorted((len(p.page_content) for p in candidates), reverse=True)[:3]
    assert {p.id for p in found} < {p.id for p in candidates}
    assert [p.id for p in retriever.invoke("anything")] == [p.id for p in found]
    assert seconds.keys() == {"embedding", "search", "reranking"}
    assert all(p.metadata["acl"] == ["everyone"] for p in found)
