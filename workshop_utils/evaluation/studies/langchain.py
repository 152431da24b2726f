"""The figures of lesson 02: splitters, answers by use, sources and citations, and forms of an answer.

On the development questions: ``workshop bench langchain --json data/results/langchain.json``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable
from rich.console import Console
from rich.table import Table
from tqdm.auto import tqdm

from workshop_utils.corpus import Question, load_documents, load_questions, split_documents
from workshop_utils.corpus.questions import NO_ANSWER
from workshop_utils.evaluation.answering import adapter_hash
from workshop_utils.evaluation.citations import citation_estimates, score_citations
from workshop_utils.evaluation.intervals import paired_difference
from workshop_utils.evaluation.metrics import contains_answer
from workshop_utils.evaluation.rankings import answerable_questions
from workshop_utils.evaluation.studies.figures import Figure, model_name, share, words
from workshop_utils.models import load_embedder, load_llm
from workshop_utils.models.constrained import can_constrain, with_schema
from workshop_utils.rag import Prompt, Rag, RagAnswer, Source, load_rag
from workshop_utils.rag.answer import CITATION, parse_citations
from workshop_utils.rag.prompts import PASSAGE_TOKENS

K = 3
MAX_TOKENS = 40
# of the passages that LangChain's splitter may make, in characters
LENGTH = 300
USES = {"documentation": ("HR", "IT", "PM"), "support": ("KB",)}
# every third question with one fact is asked in each form
FORM_STEP = 3
ASKED = 'Answer as JSON: {"answer": "...", "sources": ["number of the passage"]}'

# whether the form is valid, the answer's text, the labels cited
Cited = tuple[bool, str, tuple[str, ...]]
Way = tuple[Prompt, Runnable[LanguageModelInput, AIMessage], Callable[[str, Sequence[str]], Cited]]


def study(console: Console, every: int = 1) -> dict[str, Any]:
    """All figures, for JSON; with ``every`` above 1 on a part of the questions, to try it out."""
    llm = load_llm(max_tokens=MAX_TOKENS)
    rag = load_rag(llm, k=K, progress=True)
    single = load_questions("dev", kinds=["single"])[::every]
    questions = answerable_questions()[::every]
    console.print("splitters")
    splitting = _splitting(single)
    console.print("answers")
    answers = [rag.ask(question.question) for question in tqdm(questions)]
    console.print("forms")
    structured = _forms(rag, llm, single[::FORM_STEP])
    return {
        "n": len(questions),
        "split": "dev",
        "kinds": ["single", "multi", "changed"],
        "seed": 0,
        "model": model_name(llm),
        "backend": llm._llm_type,
        "inputs": inputs_hash(rag),
        "splitting": splitting,
        "uses": {use: _use(use, questions, answers) for use in USES},
        "sources": _sources(questions, answers),
        "citations": _citations(questions, answers),
        "structured": structured,
    }


def inputs_hash(rag: Rag) -> str:
    """SHA-256 of all in the repository that the figures depend on: when it changes, they are out of date."""
    documents = [(document.id, document.page_content) for document in load_documents()]
    settings = (K, MAX_TOKENS, LENGTH, USES, FORM_STEP, ASKED, PASSAGE_TOKENS, rag.prompt, rag.read, rag.budget)
    inputs = (settings, adapter_hash(rag.llm), documents, answerable_questions())
    return hashlib.sha256(repr(inputs).encode()).hexdigest()


def table(result: dict[str, Any]) -> Table:
    """The study for the terminal."""
    grid = Table("what", "figure", "value, 95% interval")
    for name, row in result["splitting"].items():
        if isinstance(row, dict):
            figure, value = next((key, value) for key, value in row.items() if key in ("found", "difference"))
            grid.add_row(f"splitter: {name}", f"evidence in the first {K}, {figure}", words(value))
    for group in ("uses", "structured"):
        for name, row in result[group].items():
            for figure, value in row.items() if isinstance(row, dict) else ():
                if isinstance(value, dict):
                    grid.add_row(f"{group}: {name}", figure, words(value))
    for group in ("sources", "citations"):
        for figure, value in result[group].items():
            if isinstance(value, dict):
                grid.add_row(group, figure, words(value))
    return grid


def _splitting(questions: Sequence[Question]) -> dict[str, Any]:
    documents = load_documents()
    embedder = load_embedder()
    asked = np.array([embedder.embed_query(question.question) for question in questions])
    rows: dict[str, Any] = {"n": len(questions)}
    hits: dict[str, list[bool]] = {}
    for name, split in splitters().items():
        passages = [passage for document in documents for passage in split(document)]
        vectors = np.array(embedder.embed_documents([passage.page_content for passage in passages]))
        best = np.argsort(-(asked @ vectors.T), axis=1)[:, :K]
        hits[name] = [
            any(span_in(question, passages[place].page_content) for place in row)
            for question, row in zip(questions, best, strict=True)
        ]
        rows[name] = {"passages": len(passages), "found": _share(hits[name], questions)}
    families = [question.family for question in questions]
    for name, first, second in (
        ("headings_put_back", "headings_in_text", "headings"),
        ("headers_kept", "ours", "headings_in_text"),
    ):
        rows[name] = {"difference": paired_difference(hits[first], hits[second], families).as_dict()}
    return rows


def splitters() -> dict[str, Callable[[Document], list[Document]]]:
    """LangChain's splitters as they are used for Markdown, and ours: passages of one document."""
    from langchain_text_splitters import MarkdownHeaderTextSplitter, RecursiveCharacterTextSplitter

    by_heading = MarkdownHeaderTextSplitter([("#", "title"), ("##", "section")])
    by_length = RecursiveCharacterTextSplitter(chunk_size=LENGTH, chunk_overlap=0)

    def headings(document: Document) -> list[Document]:
        return by_length.split_documents(by_heading.split_text(document.page_content))

    def in_text(document: Document) -> list[Document]:
        return [
            Document(" > ".join(str(value) for value in piece.metadata.values()) + f"\n{piece.page_content}")
            for piece in headings(document)
        ]

    return {
        "recursive": lambda document: by_length.split_documents([document]),
        "headings": headings,
        "headings_in_text": in_text,
        "ours": lambda document: split_documents([document], PASSAGE_TOKENS),
    }


def span_in(question: Question, text: str) -> bool:
    """Whether one of the question's evidence spans stands in the text; a splitter may have moved its line ends."""
    flat = " ".join(text.split())
    return any(" ".join(part.span.split()) in flat for part in question.evidence)


def holds_evidence(source: Source, question: Question) -> bool:
    """Whether a retrieved passage is from the evidence's document and has its span."""
    return any(part.source == source.document and part.span in source.text for part in question.evidence)


def _use(use: str, questions: Sequence[Question], answers: Sequence[RagAnswer]) -> dict[str, Any]:
    rows = [pair for pair in zip(questions, answers, strict=True) if pair[0].collection_prefix in USES[use]]
    asked = [question for question, _ in rows]
    right = [contains_answer(answer.text, question.accepted) for question, answer in rows]
    found = [any(s.read and holds_evidence(s, question) for s in answer.sources) for question, answer in rows]
    where_found = [i for i, yes in enumerate(found) if yes]
    correct = _share(right, asked)
    result = {"correct": correct, "found": _share(found, asked), "verdict": verdict(correct)}
    if where_found:
        result["correct_given_found"] = _share([right[i] for i in where_found], [asked[i] for i in where_found])
    return result


def verdict(correct: dict[str, float]) -> str:
    """RU1 and RU2, by the rule that lesson 02 fixes before it looks."""
    if correct["low"] > 0.5:
        return "fits"
    return "does not fit here" if correct["high"] < 0.5 else "not decidable here"


def _sources(questions: Sequence[Question], answers: Sequence[RagAnswer]) -> dict[str, Any]:
    rows = [[holds_evidence(s, question) for s in a.sources] for question, a in zip(questions, answers, strict=True)]
    return {
        "n": len(rows),
        "precision": _share([float(np.mean(row)) for row in rows], questions),
        "found": _share([any(row) for row in rows], questions),
    }


def _citations(questions: Sequence[Question], answers: Sequence[RagAnswer]) -> dict[str, Any]:
    scores = [score_citations(answer, question) for question, answer in zip(questions, answers, strict=True)]
    families: list[Hashable] = [question.family for question in questions]
    estimates = citation_estimates(scores, families)
    # a share of no citations at all is left out, and lesson 02 says so
    return {name: estimate.as_dict() for name, estimate in estimates.items()}


def _forms(rag: Rag, llm: BaseChatModel, questions: Sequence[Question]) -> dict[str, Any]:
    labels = [str(number) for number in range(1, rag.read + 1)]
    grammar = f'root ::= "[" [1-{rag.read}] "] " [^\\[\\]\\n]{{1,80}} | "{NO_ANSWER}"'
    asked = Prompt(rag.prompt.system, ASKED, rag.prompt.examples, rag.prompt.numbered)
    schema = {
        "type": "object",
        "properties": {
            "answer": {"type": "string", "maxLength": 80},
            "sources": {"type": "array", "items": {"enum": labels}, "maxItems": len(labels)},
        },
        "required": ["answer", "sources"],
        "additionalProperties": False,
    }
    ways: dict[str, Way] = {
        "asked": (asked, llm.bind(max_tokens=80), _as_json),
        "code": (rag.prompt, llm, _as_text),
    }
    if can_constrain(llm):
        ways["schema"] = (rag.prompt, with_schema(llm, schema, max_tokens=200), _as_json)
        ways["grammar"] = (rag.prompt, llm.bind(grammar=grammar), _as_text)
    rows: dict[str, list[tuple[bool, bool, bool]]] = {name: [] for name in ways}
    for question in tqdm(questions):
        passages, _ = rag.retriever.search(question.question)
        given = list(zip(labels, passages, strict=False))
        evidence = {label for label, passage in given if span_in(question, passage.page_content)}
        for name, (prompt, model, read) in ways.items():
            written = model.invoke(prompt.messages(question.question, given)).text
            valid, text, cited = read(written, labels)
            right = contains_answer(text, question.accepted)
            rows[name].append((valid, right, bool(cited) and set(cited) <= evidence))
    return {"n": len(questions)} | {
        name: {
            figure: _share([row[place] for row in found], questions)
            for place, figure in enumerate(("valid", "correct", "cited"))
        }
        for name, found in rows.items()
    }


def _as_json(text: str, labels: Sequence[str]) -> Cited:
    try:
        record = json.loads(text)
        answer, cited = record["answer"], record["sources"]
        valid = isinstance(answer, str) and isinstance(cited, list) and all(label in labels for label in cited)
    except (ValueError, LookupError, TypeError):
        valid = False
    return (True, answer, tuple(cited)) if valid else (False, "", ())


def _as_text(text: str, labels: Sequence[str]) -> Cited:
    known, _ = parse_citations(text, labels)
    return True, CITATION.sub("", text).strip(), known


def _share(values: Iterable[float], questions: Sequence[Question]) -> Figure:
    return share(values, [question.family for question in questions])
