"""The path from question to answer as one LangChain chain (LCEL), with each stage open to view."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough

from workshop_utils.corpus import load_documents, split_documents
from workshop_utils.errors import InputError
from workshop_utils.models import load_embedder, load_llm
from workshop_utils.models.llm import count_tokens
from workshop_utils.rag.answer import RagAnswer, make_sources, parse_citations
from workshop_utils.rag.prompt import Labelled, Prompt, pack
from workshop_utils.rag.prompts import PASSAGE_TOKENS, READER_K, READER_PROMPT, way_of_asking
from workshop_utils.retrieval import Bm25Retriever, DenseRetriever, HybridRetriever, SearchingRetriever, build_index
from workshop_utils.retrieval.hybrid import CANDIDATES

State = dict[str, Any]
Search = Literal["dense", "hybrid"]


@dataclass
class Rag:
    """A RAG system: what finds, what answers, how it is asked, and how much it is given to read.

    Attributes:
        read: how many of the retrieved passages the model is given; all of them are listed as sources for the human
            reader. See ``way_of_asking`` for what suits which model.
        budget: the most tokens that the passages given may have together.
    """

    retriever: SearchingRetriever
    llm: BaseChatModel
    prompt: Prompt = READER_PROMPT
    read: int = READER_K
    budget: int = 600
    chain: Runnable[State, State] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.chain = (
            RunnablePassthrough.assign(found=RunnableLambda(self._retrieve))
            | RunnablePassthrough.assign(asked=RunnableLambda(self._ask_with))
            | RunnablePassthrough.assign(
                text=RunnableLambda(lambda state: state["asked"]["messages"]) | self.llm | StrOutputParser()
            )
        )

    def ask(self, question: str) -> RagAnswer:
        """Answer one question.

        Raises:
            workshop_utils.errors.InputError: the question is empty.
        """
        *_, answer = self.stream(question)
        assert isinstance(answer, RagAnswer)
        return answer

    def stream(self, question: str) -> Iterator[str | RagAnswer]:
        """Pieces of the answer as they are generated, and last the whole ``RagAnswer``.

        Raises:
            workshop_utils.errors.InputError: the question is empty.
        """
        state: State = {}
        started = time.perf_counter()
        for update in self.chain.stream({"question": _checked(question)}):
            for key, value in update.items():
                if key == "text":
                    state["text"] = state.get("text", "") + value
                    yield value
                else:
                    state[key] = value
                    started = time.perf_counter()
        yield self._finish(state, time.perf_counter() - started)

    def batch(self, questions: Sequence[str]) -> list[RagAnswer]:
        """Answers to many questions, generated together; their generation time is the average.

        Raises:
            workshop_utils.errors.InputError: a question is empty.
        """
        # not chain.batch: LCEL would ask the model once for each question, from several threads
        states: list[State] = [{"question": _checked(question)} for question in questions]
        for state in states:
            state["found"] = self._retrieve(state)
            state["asked"] = self._ask_with(state)
        started = time.perf_counter()
        messages = self.llm.batch([state["asked"]["messages"] for state in states]) if states else []
        seconds = (time.perf_counter() - started) / max(len(states), 1)
        return [
            self._finish({**state, "text": message.text}, seconds)
            for state, message in zip(states, messages, strict=True)
        ]

    def _retrieve(self, state: State) -> State:
        passages, seconds = self.retriever.search(state["question"])
        return {"passages": passages, "seconds": seconds}

    def _ask_with(self, state: State) -> State:
        started = time.perf_counter()
        labelled: list[Labelled] = pack(
            state["found"]["passages"][: self.read], self.budget, lambda text: count_tokens(self.llm, text)
        )
        messages = self.prompt.messages(state["question"], labelled)
        tokens = sum(count_tokens(self.llm, str(message.content)) for message in messages)
        return {
            "labelled": labelled,
            "messages": messages,
            "tokens": tokens,
            "seconds": {"prompt": time.perf_counter() - started},
        }

    def _finish(self, state: State, generation: float) -> RagAnswer:
        labels = [label for label, _ in state["asked"]["labelled"]]
        known, unknown = parse_citations(state["text"], labels)
        return RagAnswer(
            question=state["question"],
            text=state["text"].strip(),
            sources=make_sources(state["found"]["passages"], len(labels)),
            citations=known,
            unknown_citations=unknown,
            seconds={**state["found"]["seconds"], **state["asked"]["seconds"], "generation": generation},
            prompt_tokens=state["asked"]["tokens"],
        )


def _checked(question: str) -> str:
    if not question.strip():
        raise InputError("The question is empty.")
    return question.strip()


def load_rag(
    llm: BaseChatModel | None = None, *, k: int = READER_K, search: Search = "dense", progress: bool = False
) -> Rag:
    """The workshop's RAG system over the company's documents; the index is built on the first call and kept.

    Args:
        llm: any LangChain chat model; ``load_llm()`` when None. It is asked in the way that suits it.
        k: passages retrieved for a question.
        search: by meaning (``dense``), or by meaning and by words (``hybrid``).
        progress: show a progress bar while the index is built.

    Raises:
        workshop_utils.models.store.ModelStoreError: a model cannot be had.
    """
    passages = split_documents(load_documents(groups=None), PASSAGE_TOKENS)
    index = build_index(passages, load_embedder(), progress=progress)
    retriever: SearchingRetriever = DenseRetriever(index=index, k=k)
    if search == "hybrid":
        retriever = HybridRetriever(
            dense=DenseRetriever(index=index, k=CANDIDATES), lexical=Bm25Retriever(passages=passages, k=CANDIDATES), k=k
        )
    model = llm or load_llm()
    prompt, read = way_of_asking(model)
    return Rag(retriever, model, prompt, min(read, k))
