"""The broken pipeline: each fault leaves its own trace, and is gone when it is repaired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from tests.tiny import HashEmbedder
from workshop_utils.corpus import COLLECTIONS, Question, load_documents, load_questions, split_documents
from workshop_utils.errors import InputError
from workshop_utils.evaluation import faults as subject
from workshop_utils.evaluation.faults import (
    ANSWER_FAULTS,
    FAULTS,
    SEARCH_FAULTS,
    BrokenRag,
    broken_rag,
    describe,
    self_cosine,
    symptoms_of_answers,
    symptoms_of_search,
)
from workshop_utils.messages import keys
from workshop_utils.rag import Prompt, Rag
from workshop_utils.rag.prompts import PASSAGE_TOKENS
from workshop_utils.retrieval import Bm25Retriever, DenseRetriever, HybridRetriever, build_index

STALE = "support-articles"
LIMIT = 40


class Copier(BaseChatModel):
    """Knows which words of the passages answer, and cites the passage; ``max_tokens`` is its limit in words."""

    answers: dict[str, tuple[str, ...]]
    asked: Any = None
    max_tokens: int = LIMIT

    @property
    def _llm_type(self) -> str:
        return "copier"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        turn = str(messages[-1].content)
        passages, question = turn.removeprefix("Text:\n").rsplit("\n\nQuestion: ", 1)
        self.asked.append(question)
        text = "not in the documents"
        for number, passage in enumerate(passages.split("\n\n["), start=1):
            right = [answer for answer in self.answers[question] if answer in passage]
            if right:
                text = f"[{number}] The answer, as the passage says in so many words: {right[0]}"
                break
        limited = " ".join(text.split()[: self.max_tokens])
        return ChatResult(generations=[ChatGeneration(message=AIMessage(limited))])

    def count_tokens(self, text: str) -> int:
        return len(text.split())


class Lookup(HashEmbedder):
    """A question is embedded as one of its evidence passages, with some noise; other texts at random."""

    def __init__(self, questions: Sequence[Question], passages: Sequence[Document]) -> None:
        super().__init__(64)
        self.known = {q.question: _first_golden(q, passages) for q in questions}
        self._client = self

    def encode(self, texts: list[str], **_: Any) -> list[Any]:
        """Token vectors, which have nothing to do with the text's own vector."""
        import torch

        return [torch.tensor([super(Lookup, self).embed_query(f"first token of {text}")]) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        own = np.array(super().embed_query(text))
        if text in self.known:
            mixed = np.array(super().embed_query(self.known[text])) + 0.5 * own
            return [float(value) for value in mixed / np.linalg.norm(mixed)]
        return [float(value) for value in own]


def _first_golden(question: Question, passages: Sequence[Document]) -> str:
    span = question.evidence[0]
    return next(p.page_content for p in passages if p.metadata["source"] == span.source and span.span in p.page_content)


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    passages = split_documents(load_documents(), PASSAGE_TOKENS)
    texts = {(p.metadata["source"], p.page_content) for p in passages}
    return [
        q
        for q in load_questions("dev", kinds=["single"])
        if any(q.evidence[0].source == source and q.evidence[0].span in text for source, text in texts)
    ]


@pytest.fixture(scope="module")
def sound(questions: list[Question], tmp_path_factory: pytest.TempPathFactory) -> Rag:
    passages = split_documents(load_documents(), PASSAGE_TOKENS)
    index = build_index(passages, Lookup(questions, passages), tmp_path_factory.mktemp("index"))
    llm = Copier(answers={q.question: q.accepted for q in questions}, asked=[])
    return Rag(DenseRetriever(index=index, k=subject.K), llm, Prompt(numbered=True), read=3, budget=10_000)


def broken(sound: Rag, *planted: str) -> BrokenRag:
    return BrokenRag(sound, planted, STALE)


def found(system: BrokenRag, questions: Sequence[Question]) -> dict[str, float]:
    return {
        name: estimate.value for name, estimate in symptoms_of_search(questions, system.search_all(questions)).items()
    }


def said(system: BrokenRag, questions: Sequence[Question]) -> dict[str, float]:
    return {
        name: estimate.value for name, estimate in symptoms_of_answers(questions, system.ask_all(questions)).items()
    }


def test_a_sound_system_shows_no_symptom(sound: Rag, questions: list[Question]) -> None:
    search, answers = found(broken(sound), questions), said(broken(sound), questions)
    assert search.pop("hit@1") > 0.95
    assert set(search.values()) == {1.0}
    assert answers["given"] == 1
    assert min(answers["correct"], answers["correct where given"], answers["cites"], answers["cited right"]) > 0.9
    assert self_cosine(broken(sound).search) == pytest.approx(1, abs=1e-4)


def test_a_stale_index_lacks_one_collection(sound: Rag, questions: list[Question]) -> None:
    search = found(broken(sound, "stale_index"), questions)
    assert search["hit@10 KB"] == 0
    assert {value for name, value in search.items() if name.startswith("hit@10 ") and name[-2:].isupper()} == {0, 1}
    assert search["closest first"] == 1
    assert self_cosine(broken(sound, "stale_index").search) == pytest.approx(1, abs=1e-4)


def test_truncated_documents_lack_their_end(sound: Rag, questions: list[Question]) -> None:
    search = found(broken(sound, "truncated_documents"), questions)
    assert search["hit@10 early"] > search["hit@10 late"] + 0.5
    assert 0 < min(value for name, value in search.items() if name.startswith("hit@10 ") and name[-2:].isupper()) < 1


def test_questions_embedded_otherwise_are_found_nowhere(sound: Rag, questions: list[Question]) -> None:
    system = broken(sound, "query_embedding")
    assert found(system, questions)["hit@10"] < 0.2
    assert self_cosine(system.search) < 0.9


def test_the_worst_first_is_found_and_not_given(sound: Rag, questions: list[Question]) -> None:
    system = broken(sound, "worst_first")
    search = found(system, questions)
    assert search["hit@10"] == 1
    assert search["hit@3"] < 0.3
    assert search["closest first"] == 0
    assert said(system, questions)["given"] < 0.3


def test_shifted_labels_spoil_the_citations_alone(sound: Rag, questions: list[Question]) -> None:
    right, shifted = said(broken(sound), questions), said(broken(sound, "labels_shifted"), questions)
    assert shifted["cited right"] < 0.1
    assert {name for name in right if right[name] != shifted[name]} == {"cited right"}
    assert found(broken(sound, "labels_shifted"), questions) == found(broken(sound), questions)


def test_answers_cut_cite_and_do_not_answer(sound: Rag, questions: list[Question]) -> None:
    system = broken(sound, "answers_cut")
    answers = said(system, questions)
    assert answers["cited right"] > 0.9
    assert answers["correct where given"] < 0.1
    assert answers["words"] <= subject.CUT_TOKENS


def test_repaired_one_after_another_it_is_the_sound_system(sound: Rag, questions: list[Question]) -> None:
    system = broken(sound, *FAULTS)
    assert system.remaining == len(FAULTS)
    for fault in FAULTS:
        assert system.repair(fault)
        assert not system.repair(fault)
    assert system.remaining == 0
    assert found(system, questions) == found(broken(sound), questions)
    assert said(system, questions) == said(broken(sound), questions)


def test_what_was_in_order_cannot_be_repaired(sound: Rag) -> None:
    system = broken(sound, "stale_index")
    assert not system.repair("answers_cut")
    assert system.remaining == 1
    for call in (system.repair, describe):
        with pytest.raises(InputError, match=r"'weather' is not among the suspects: stale_index, .*answers_cut"):
            call("weather")


def test_nothing_is_asked_twice_in_one_state(sound: Rag, questions: list[Question]) -> None:
    assert isinstance(sound.llm, Copier)
    system = broken(sound, "answers_cut", "labels_shifted")
    few = questions[:4]
    sound.llm.asked.clear()
    first = system.ask_all([*few, few[0]])
    assert sorted(sound.llm.asked) == sorted(q.question for q in few)
    system.repair("labels_shifted")
    again = system.ask_all(few)
    assert len(sound.llm.asked) == len(few)
    assert [a.text for a in again] == [a.text for a in first[:4]]
    assert [a.question for a in again] == [q.question for q in few]
    system.repair("answers_cut")
    system.ask_all(few[:2])
    assert len(sound.llm.asked) == len(few) + 2


def test_a_seed_plants_two_faults_in_each_half(sound: Rag) -> None:
    planted = []
    for seed in range(12):
        system = broken_rag(sound, seed=seed)
        assert system.planted == broken_rag(sound, seed=seed).planted
        assert len(set(system.planted) & set(SEARCH_FAULTS)) == len(set(system.planted) & set(ANSWER_FAULTS)) == 2
        assert system.remaining == 4
        assert system.collection in COLLECTIONS
        assert not any(fault in repr(system) for fault in FAULTS)
        explained = system.explain()
        assert [fault for fault in FAULTS if f"**{fault}**" in explained] == [f for f in FAULTS if f in system.planted]
        planted.append(frozenset(system.planted))
    assert len(set(planted)) > 3


def test_every_suspect_is_described() -> None:
    assert set(keys("faults")) == {
        f"faults.{fault}.{part}" for fault in FAULTS for part in ("suspect", "trace", "repair")
    }
    assert len({describe(fault) for fault in FAULTS}) == len(FAULTS)


def test_lesson_04_has_the_faults_that_it_tells_of(sound: Rag) -> None:
    system = broken_rag(sound, seed=1)
    assert set(system.planted) == {"stale_index", "query_embedding", "worst_first", "labels_shifted"}
    assert system.collection == "support-articles"
    assert "(support-articles)" in system.explain()


def test_the_system_that_was_given_is_left_as_it_is(sound: Rag, questions: list[Question]) -> None:
    assert isinstance(sound.retriever, DenseRetriever)
    narrow = replace(sound, retriever=sound.retriever.model_copy(update={"k": 3}))
    before = narrow.retriever.invoke(questions[0].question)
    assert len(broken_rag(narrow, seed=1).search(questions[0].question)) == subject.K
    assert narrow.retriever.invoke(questions[0].question) == before
    assert len(before) == 3


def test_another_search_is_refused(sound: Rag) -> None:
    assert isinstance(sound.retriever, DenseRetriever)
    lexical = Bm25Retriever(passages=[])
    hybrid = replace(sound, retriever=HybridRetriever(dense=sound.retriever, lexical=lexical))
    with pytest.raises(InputError, match="dense"):
        broken_rag(hybrid, seed=1)
