"""The retrieval explorer: one question, and what each retriever finds for it in passages of different lengths."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from workshop_utils.corpus import load_documents, split_documents
from workshop_utils.messages import say
from workshop_utils.models import load_embedder, store
from workshop_utils.rag.prompts import PASSAGE_TOKENS
from workshop_utils.retrieval import Bm25Retriever, DenseRetriever, build_index, index_folder
from workshop_utils.retrieval.hybrid import CANDIDATES, HybridRetriever

Method = Literal["dense", "bm25", "hybrid"]
METHODS: tuple[Method, ...] = get_args(Method)
SIZES = (30, 60, 120, 240)
MOST = 10
WORD = re.compile(r"\w+")
# a table row, a list item, or a sentence
PART = re.compile(r"\S.*?(?:[.!?](?=\s+[^a-z0-9\s])|(?=\n)|$)", re.MULTILINE)


@dataclass(frozen=True)
class Found:
    """A passage, its score by the method that found it, and from where to where its text is marked."""

    passage: Document
    score: float
    marks: tuple[tuple[int, int], ...]


@dataclass
class _Size:
    """What is kept for one length of passages."""

    dense: DenseRetriever
    lexical: Bm25Retriever


@dataclass
class Exploration:
    """What the explorer shows; no display.

    The passages of each length are embedded once and kept: in memory, and on disk beside the workshop's own index.

    Attributes:
        groups: the reader's access groups; the filter is part of every search.
        folder: where the indexes are kept, one folder a length; the cache when None.
    """

    documents: Sequence[Document]
    embedder: Embeddings
    groups: tuple[str, ...] = ("everyone",)
    folder: Path | None = None
    question: str = ""
    k: int = 3
    size: int = PASSAGE_TOKENS
    method: Method = "dense"
    found: list[Found] = field(default_factory=list)
    summary: str = ""
    error: str = ""
    _sizes: dict[int, _Size] = field(default_factory=dict, repr=False)
    _parts: dict[str, np.ndarray[Any, np.dtype[np.float64]]] = field(default_factory=dict, repr=False)

    def search(self) -> None:
        """Fill ``found`` and ``summary`` for the question, or ``error``."""
        self.found, self.summary, self.error = [], "", ""
        if not self.question.strip():
            self.error = say("retrieval_explorer.empty")
            return
        try:
            started = time.perf_counter()
            fresh = self.size not in self._sizes
            kept = self._opened()
            opened = time.perf_counter()
            passages = self._passages(kept)
            self.found = [Found(p, p.metadata["score"], self._marks(p.page_content)) for p in passages]
            seconds = time.perf_counter() - opened
        except Exception as error:
            self.error = say("retrieval_explorer.failed", error=error)
            return
        values = {"found": len(self.found), "passages": len(kept.lexical.passages)}
        if fresh and opened - started > 2:
            self.summary = say("retrieval_explorer.first_time", seconds=f"{opened - started:.0f}", **values)
        else:
            self.summary = say("retrieval_explorer.summary", milliseconds=f"{seconds * 1000:.0f}", **values)
        if not self.found:
            self.error = say("retrieval_explorer.nothing")

    def as_html(self) -> str:
        """The state as HTML; text of documents is escaped."""
        if self.error:
            return f"<p style='color:#c62828'>{html.escape(self.error)}</p>"
        legend = say(f"retrieval_explorer.legend_{self.method}")
        parts = [f"<p><small>{html.escape(self.summary)} {html.escape(legend)}</small></p>"]
        for rank, found in enumerate(self.found, start=1):
            score = say(f"retrieval_explorer.score_{self.method}", score=found.score)
            head = html.escape(f"{rank}. {found.passage.id} ({score})")
            parts.append(f"<p><b>{head}</b></p>{_marked(found.passage.page_content, found.marks)}")
        return "".join(parts)

    def _opened(self) -> _Size:
        if self.size not in self._sizes:
            passages = split_documents(self.documents, self.size)
            index = build_index(passages, self.embedder, self._folder())
            self._sizes[self.size] = _Size(
                DenseRetriever(index=index, groups=self.groups), Bm25Retriever(passages=passages, groups=self.groups)
            )
        return self._sizes[self.size]

    def _folder(self) -> Path:
        if self.folder is not None:
            return self.folder / str(self.size)
        # passages of the workshop's own length are in its own index already
        return index_folder() if self.size == PASSAGE_TOKENS else store.cache_dir() / f"index-{self.size}"

    def _passages(self, kept: _Size) -> list[Document]:
        wide = CANDIDATES if self.method == "hybrid" else self.k
        dense = kept.dense.model_copy(update={"k": wide})
        # a field of this model is computed once, and a copy would compute it anew
        kept.lexical.k = wide
        if self.method == "dense":
            return dense.search(self.question)[0]
        if self.method == "bm25":
            return kept.lexical.search(self.question)[0]
        return HybridRetriever(dense=dense, lexical=kept.lexical, k=self.k).search(self.question)[0]

    def _marks(self, text: str) -> tuple[tuple[int, int], ...]:
        """Words shared with the question; for the dense search, which knows no words, the part closest to it."""
        if self.method == "dense":
            parts = [(m.start(), m.end()) for m in PART.finditer(text, text.find("\n") + 1) if WORD.search(m[0])]
            if not parts:
                return ()
            if text not in self._parts:
                self._parts[text] = np.array(self.embedder.embed_documents([text[start:end] for start, end in parts]))
            vectors = self._parts[text]
            return (parts[int(np.argmax(vectors @ np.array(self.embedder.embed_query(self.question))))],)
        wanted = _words(self.question)
        return tuple((m.start(), m.end()) for m in WORD.finditer(text) if m[0].lower() in wanted)


def _words(text: str) -> set[str]:
    """The words by which BM25 searches."""
    from bm25s.tokenization import tokenize

    return set(tokenize([text], stopwords="en", return_ids=False, show_progress=False)[0])


def _marked(text: str, marks: Sequence[tuple[int, int]]) -> str:
    pieces, end = [], 0
    for start, stop in marks:
        pieces += [html.escape(text[end:start]), f"<mark>{html.escape(text[start:stop])}</mark>"]
        end = stop
    return f"<pre style='white-space:pre-wrap'>{''.join(pieces)}{html.escape(text[end:])}</pre>"


def retrieval_explorer(
    question: str = "", documents: Sequence[Document] | None = None, embedder: Embeddings | None = None
) -> Any:
    """The widget: an ``ipywidgets.VBox``.

    Args:
        question: what is asked at the start.
        documents: what is searched; the company's documents when None.
        embedder: ``load_embedder()`` when None.
    """
    import ipywidgets as widgets

    state = Exploration(
        load_documents(groups=None) if documents is None else documents, embedder or load_embedder(), question=question
    )
    style = {"description_width": "110px"}
    box = widgets.Text(
        value=question,
        description=say("retrieval_explorer.question"),
        placeholder=say("retrieval_explorer.placeholder"),
        continuous_update=False,
        style=style,
        layout=widgets.Layout(width="95%"),
    )
    k = widgets.IntSlider(
        state.k, 1, MOST, description=say("retrieval_explorer.k"), continuous_update=False, style=style
    )
    sizes = sorted({*SIZES, PASSAGE_TOKENS})
    size = widgets.SelectionSlider(
        options=[(say("retrieval_explorer.size_value", tokens=tokens), tokens) for tokens in sizes],
        value=state.size,
        description=say("retrieval_explorer.size"),
        continuous_update=False,
        style=style,
    )
    method = widgets.ToggleButtons(
        options=[(say(f"retrieval_explorer.{name}"), name) for name in METHODS],
        description=say("retrieval_explorer.retriever"),
        style={**style, "button_width": "auto"},
    )
    shown = widgets.HTML()

    def search(_: object) -> None:
        state.question, state.k, state.size, state.method = box.value, k.value, size.value, method.value
        state.search()
        shown.value = state.as_html()

    for control in (box, k, size, method):
        control.observe(search, names="value")
    if question:
        search(None)
    return widgets.VBox([box, widgets.HBox([k, size]), method, shown])
