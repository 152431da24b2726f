"""A RAG system with faults planted in it that real systems have, to be found by measurement.

Six are suspected; a seed plants four of them, two in the search and two in the answering. Each leaves a trace of its
own in the figures, and can be repaired alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from workshop_utils.corpus import COLLECTIONS, Question, load_documents, split_documents
from workshop_utils.corpus.questions import golden_passages
from workshop_utils.errors import InputError
from workshop_utils.evaluation.citations import score_citations
from workshop_utils.evaluation.intervals import Estimate, bootstrap
from workshop_utils.evaluation.metrics import contains_answer
from workshop_utils.messages import say
from workshop_utils.rag import Rag, RagAnswer
from workshop_utils.rag.prompts import PASSAGE_TOKENS
from workshop_utils.retrieval import DenseRetriever

if TYPE_CHECKING:
    from workshop_utils.models.sentence_embedder import SentenceEmbedder

SEARCH_FAULTS = ("stale_index", "truncated_documents", "query_embedding")
ANSWER_FAULTS = ("worst_first", "labels_shifted", "answers_cut")
FAULTS = SEARCH_FAULTS + ANSWER_FAULTS
# passages found for a question, of which the model is given the first three
K = 10
# of a document that was cut short, this many passages are left
KEPT_PASSAGES = 10
# enough for '[2] ' and the start of an answer
CUT_TOKENS = 5


def describe(fault: str) -> str:
    """What would be wrong, in one sentence; it says nothing about whether it is."""
    return say(f"faults.{_known(fault)}.suspect")


def broken_rag(rag: Rag, *, seed: int) -> BrokenRag:
    """A RAG system over the company's documents with four faults; ``rag`` itself is left as it is.

    Args:
        rag: as ``load_rag`` makes it, with a dense search.
        seed: which of the suspects are planted.

    Raises:
        workshop_utils.errors.InputError: the system searches in another way.
    """
    if not isinstance(rag.retriever, DenseRetriever):
        raise InputError("The faults are planted in a dense search: load_rag(llm, search='dense').")
    rng = random.Random(seed)
    planted = [*rng.sample(SEARCH_FAULTS, 2), *rng.sample(ANSWER_FAULTS, 2)]
    wide = rag.retriever.model_copy(update={"k": K})
    return BrokenRag(replace(rag, retriever=wide), planted, rng.choice(COLLECTIONS))


@dataclass
class BrokenRag:
    """A RAG system with faults, that can be measured and repaired.

    Attributes:
        sound: the system without them.
        planted: what is wrong at first.
        collection: of a stale index, what it lacks.
    """

    sound: Rag = field(repr=False)
    planted: Sequence[str] = field(repr=False)
    collection: str = field(repr=False)
    _left: set[str] = field(init=False, repr=False)
    _answers: dict[tuple[frozenset[str], str], RagAnswer] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._left = {_known(fault) for fault in self.planted}

    @property
    def remaining(self) -> int:
        """How many faults are left."""
        return len(self._left)

    def repair(self, fault: str) -> bool:
        """Repair one of ``FAULTS``: True when it was there, False when there was nothing wrong.

        Raises:
            workshop_utils.errors.InputError: there is no such suspect.
        """
        found = _known(fault) in self._left
        self._left.discard(fault)
        return found

    def explain(self) -> str:
        """The solution, in Markdown: each planted fault, the trace it leaves, and its repair."""
        parts = ("suspect", "trace", "repair")
        entries = [[say(f"faults.{fault}.{part}", collection=self.collection) for part in parts] for fault in FAULTS]
        rows = dict(zip(FAULTS, entries, strict=True))
        return "\n".join(f"- **{fault}**: {' '.join(rows[fault])}" for fault in FAULTS if fault in self.planted)

    def search(self, question: str) -> list[Document]:
        """The passages found, in the order in which the system uses them, each with its cosine as ``score``."""
        return self._rag().retriever.invoke(question)

    def search_all(self, questions: Sequence[Question]) -> list[list[Document]]:
        """The same for many questions; no language model takes part."""
        return [self.search(question.question) for question in questions]

    def ask_all(self, questions: Sequence[Question]) -> list[RagAnswer]:
        """Answers, generated together; what the system in this state has answered before is not asked again."""
        # the labels are put on after the answer is there
        state = frozenset(self._left - {"labels_shifted"})
        new = list(dict.fromkeys(q.question for q in questions if (state, q.question) not in self._answers))
        if new:
            answers = zip(new, self._rag().batch(new), strict=True)
            self._answers |= {(state, question): answer for question, answer in answers}
        answered = [self._answers[state, question.question] for question in questions]
        return [_shifted(answer) for answer in answered] if "labels_shifted" in self._left else answered

    def _rag(self) -> Rag:
        retriever = self.sound.retriever
        assert isinstance(retriever, DenseRetriever)
        index = _FaultyIndex(retriever.index, frozenset(self._left), self.collection)
        cut = {"max_tokens": CUT_TOKENS} if "answers_cut" in self._left else {}
        return replace(
            self.sound,
            retriever=retriever.model_copy(update={"index": index}),
            llm=self.sound.llm.model_copy(update=cut),
        )


@dataclass(frozen=True)
class _FaultyIndex:
    """The part of a ``Chroma`` collection that ``DenseRetriever`` uses."""

    index: Any
    faults: frozenset[str]
    collection: str

    @property
    def embeddings(self) -> Embeddings:
        embedder: SentenceEmbedder = self.index.embeddings
        return _FirstToken(embedder) if "query_embedding" in self.faults else embedder

    def similarity_search_by_vector_with_relevance_scores(
        self, vector: list[float], k: int, filter: dict[str, Any]
    ) -> list[tuple[Document, float]]:
        clauses = [filter]
        if "stale_index" in self.faults:
            clauses.append({"collection": {"$ne": self.collection}})
        if "truncated_documents" in self.faults:
            clauses.append({"position": {"$lt": KEPT_PASSAGES}})
        found: list[tuple[Document, float]] = self.index.similarity_search_by_vector_with_relevance_scores(
            vector, k=k, filter=clauses[0] if len(clauses) == 1 else {"$and": clauses}
        )
        return found[::-1] if "worst_first" in self.faults else found


class _FirstToken(Embeddings):
    """The question's vector is that of its first token, while those of the passages are the mean of all of theirs."""

    def __init__(self, embedder: SentenceEmbedder) -> None:
        self._encoder = embedder._client

    def embed_query(self, text: str) -> list[float]:
        (tokens,) = self._encoder.encode([text], output_value="token_embeddings", show_progress_bar=False)
        first = np.asarray(tokens[0].float().cpu())
        return [float(value) for value in first / np.linalg.norm(first)]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


def symptoms_of_search(questions: Sequence[Question], rankings: Sequence[Sequence[Document]]) -> dict[str, Estimate]:
    """What the passages found say about a system.

    Args:
        questions: answerable ones about the company's documents.
        rankings: the passages found for each, in the order in which they are used, with ``score``.

    Returns:
        Shares of questions: ``hit@1``, ``hit@3`` and ``hit@10``; hit@10 of each collection (``hit@10 KB``), and where
        the evidence stands in the first and in the second half of its document (``hit@10 early``, ``hit@10 late``);
        and ``closest first``, how often the first passage is the one with the highest score.
    """
    families = [question.family for question in questions]
    ranks = []
    for question, ranking in zip(questions, rankings, strict=True):
        golden = golden_passages(question, ranking)
        ranks.append(next((rank for rank, passage in enumerate(ranking, start=1) if passage.id in golden), K + 1))
    late = _stands_late(questions)
    groups = {f"hit@{K} {prefix}": prefix for prefix in dict.fromkeys(q.collection_prefix for q in questions)}
    chosen: dict[str, tuple[int, list[int]]] = {
        **{f"hit@{k}": (k, list(range(len(questions)))) for k in (1, 3, K)},
        **{
            name: (K, [i for i, q in enumerate(questions) if q.collection_prefix == prefix])
            for name, prefix in sorted(groups.items())
        },
        f"hit@{K} early": (K, [i for i, half in enumerate(late) if not half]),
        f"hit@{K} late": (K, [i for i, half in enumerate(late) if half]),
    }
    result = {
        name: bootstrap([ranks[i] <= k for i in part], [families[i] for i in part])
        for name, (k, part) in chosen.items()
        if part
    }
    scores = [[float(passage.metadata["score"]) for passage in ranking] for ranking in rankings]
    result["closest first"] = bootstrap([bool(row) and row[0] == max(row) for row in scores], families)
    return result


def symptoms_of_answers(questions: Sequence[Question], answers: Sequence[RagAnswer]) -> dict[str, Estimate]:
    """What the answers say about a system.

    Returns:
        Shares: ``given``, of questions whose evidence the model was given; ``correct``; ``correct where given``;
        ``cites``, of answers that name a passage; ``cited right``, of answers whose citations all hold evidence. And
        ``words``, the mean length of an answer.
    """
    families = [question.family for question in questions]
    scores = [score_citations(answer, question) for answer, question in zip(answers, questions, strict=True)]
    correct = [contains_answer(a.text, q.accepted) for a, q in zip(answers, questions, strict=True)]
    given = [i for i, score in enumerate(scores) if score.evidence]
    result = {
        "given": bootstrap([bool(score.evidence) for score in scores], families),
        "correct": bootstrap(correct, families),
        "cites": bootstrap([bool(score.cited) for score in scores], families),
        "cited right": bootstrap([score.right for score in scores], families),
        "words": bootstrap([float(len(answer.text.split())) for answer in answers], families),
    }
    if given:
        result["correct where given"] = bootstrap([correct[i] for i in given], [families[i] for i in given])
    return result


def self_cosine(search: Callable[[str], Sequence[Document]], n: int = 20) -> float:
    """The highest cosine that a search finds for a passage's own text, 1.0 where questions are embedded as passages.

    The median over the second passages of ``n`` documents, so that a document which is missing does not matter.
    """
    passages = [p for p in split_documents(load_documents(), PASSAGE_TOKENS) if p.metadata["position"] == 1]
    step = max(len(passages) // n, 1)
    best = [max(found.metadata["score"] for found in search(p.page_content)) for p in passages[::step][:n]]
    return float(np.median(best))


def _stands_late(questions: Sequence[Question]) -> list[bool]:
    texts = {document.id: document.page_content for document in load_documents(groups=None)}
    return [
        texts[q.evidence[0].source].find(q.evidence[0].span) >= len(texts[q.evidence[0].source]) / 2 for q in questions
    ]


def _shifted(answer: RagAnswer) -> RagAnswer:
    """Labels counted from 0 in the list of sources, though the model saw them counted from 1."""
    return replace(answer, sources=tuple(replace(s, label=str(int(s.label) - 1)) for s in answer.sources))


def _known(fault: str) -> str:
    if fault not in FAULTS:
        raise InputError(f"{fault!r} is not among the suspects: {', '.join(FAULTS)}.")
    return fault
