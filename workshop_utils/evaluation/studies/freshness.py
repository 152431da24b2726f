"""Does the answer follow the source? Seconds after a change, the update stream, deletions, and versions in force.

The figures of lesson 03: ``workshop bench freshness --json data/results/freshness.json``.

All changes are made in the systems' stand-ins and reach the index through connectors and sync. Beside the index that
is kept up to date stands one frozen on the first day.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from rich.console import Console
from rich.table import Table

from workshop_utils.corpus import Question, load_documents, load_questions, split_documents
from workshop_utils.corpus.documents import EVERYONE
from workshop_utils.corpus.questions import golden_passages
from workshop_utils.corpus.updates import Update, load_updates, questions_after
from workshop_utils.corpus.versions import in_force
from workshop_utils.evaluation.answering import kept_answers, weights_hash
from workshop_utils.evaluation.intervals import paired_difference
from workshop_utils.evaluation.metrics import contains_answer
from workshop_utils.evaluation.studies.access import tells
from workshop_utils.evaluation.studies.figures import Figure, count, model_name, share, words
from workshop_utils.evaluation.studies.living import LivingIndex
from workshop_utils.evaluation.studies.prompts import numbered
from workshop_utils.models import load_embedder, load_llm
from workshop_utils.models.adapters import READER
from workshop_utils.rag import Rag
from workshop_utils.rag.prompts import PASSAGE_TOKENS, READER_K, READER_PROMPT
from workshop_utils.retrieval import build_index
from workshop_utils.retrieval.dense import access_filter
from workshop_utils.serving.systems import Systems

MAX_TOKENS = 40
# a day before the first update, for questions on what is in force now
TODAY = "2025-12-01"
# how far down a version may be ranked and still count as found
DEPTH = 20

Passages = Sequence[Document]


@dataclass(frozen=True)
class SourceChange:
    """Something that a colleague does to a document, and a question whose answer changes with it.

    Attributes:
        old: the answer that is right before; empty for a new page.
        new: the answer that is right afterwards; empty for a deleted document.
        texts: for an edit the words before and after; for a new page its title and body.
    """

    kind: str
    document: str
    system: str
    question: str
    old: str
    new: str
    texts: tuple[str, str] = ("", "")

    def apply(self, systems: Systems) -> None:
        """Make the change at the source."""
        if self.kind == "edit":
            systems.edit(self.document, *self.texts)
        elif self.kind == "add":
            systems.add_page(self.document, *self.texts)
        else:
            systems.delete(self.document)


CHANGES = (
    SourceChange(
        "edit",
        "KB-101",
        "Confluence",
        "Our Sorvane 4 keeps stopping with E-217 after we load a new set. Once the door is shut, how long should we "
        "leave it alone before pressing start?",
        "40 seconds",
        "55 seconds",
        ("untouched for 40 seconds", "untouched for 55 seconds"),
    ),
    SourceChange(
        "edit",
        "IT-01",
        "Confluence",
        "I typed the passphrase of my Clairval account wrong too often and now I'm shut out. How long before the "
        "account opens again on its own?",
        "35 minutes",
        "48 minutes",
        ("by itself after 35 minutes", "by itself after 48 minutes"),
    ),
    SourceChange(
        "edit",
        "IT-05",
        "Confluence",
        "Nobody opens our shared mailbox any more. After how many days is it closed?",
        "110 days",
        "95 days",
        ("opened it for 110 days", "opened it for 95 days"),
    ),
    SourceChange(
        "edit",
        "KB-107",
        "Confluence",
        "The quotation for our pump repair arrived. How many days do we have to approve it?",
        "32 days",
        "45 days",
        ("stays open for 32 days", "stays open for 45 days"),
    ),
    SourceChange(
        "edit",
        "HR-06",
        "Confluence",
        "failed my exam :( how much of the fee does the company pay if I sit it a second time?",
        "60 percent",
        "75 percent",
        ("pays 60 percent of the exam fee", "pays 75 percent of the exam fee"),
    ),
    SourceChange(
        "add",
        "IT-91",
        "Confluence",
        "For how many days can I book a bicycle locker at Lindholm?",
        "",
        "19 days",
        (
            "Bicycle lockers at Lindholm",
            "<p>A bicycle locker at Lindholm is booked for up to 19 days at a time, at the front desk.</p>",
        ),
    ),
    SourceChange(
        "add",
        "HR-91",
        "Confluence",
        "How many hours of choir practice may we count as working time in a month?",
        "",
        "3 hours",
        (
            "Company choir",
            "<p>Members of the company choir may count 3 hours of practice a month as working time.</p>",
        ),
    ),
    SourceChange(
        "add",
        "KB-191",
        "Confluence",
        "The Sorvane 4 shows E-390. How long do I hold the stop key?",
        "",
        "14 seconds",
        (
            "Sorvane 4: message E-390",
            "<p>When the Sorvane 4 shows E-390, hold the stop key for 14 seconds, then start it again.</p>",
        ),
    ),
    SourceChange(
        "delete",
        "IT-07",
        "Confluence",
        "I put a file on the exchange drive for a colleague and now it's vanished. After how many days are files "
        "there removed?",
        "17 days",
        "",
    ),
    SourceChange(
        "delete",
        "KB-102",
        "Confluence",
        "tilvo s says T-41, I have put the syringe back in properly. how long do I keep my hands off until it has "
        "recognised it?",
        "8 seconds",
        "",
    ),
    SourceChange(
        "delete",
        "PM-06",
        "SharePoint",
        "What is the strongest alcohol I may clean a Tilvo S with?",
        "63 %",
        "",
    ),
    SourceChange(
        "delete",
        "CB-2024-11",
        "SharePoint",
        "Which extension reaches the adviser for questions about tressadine?",
        "ext. 3396",
        "",
    ),
)
KINDS = ("edit", "add", "delete")


def study(console: Console, every: int = 1) -> dict[str, Any]:
    """All figures, for JSON; with ``every`` above 1 on a part of the questions, to try it out."""
    embedder = load_embedder()
    updates = load_updates()
    changed = changed_questions()[::every]
    single = load_questions("dev", kinds=["single"])[::every]
    batched = load_llm(backend="transformers", max_tokens=MAX_TOKENS)
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        LivingIndex(Path(folder), embedder) as living,
    ):
        console.print("the update stream")
        states = []
        for number in range(len(updates) + 1):
            if number:
                living.systems.advance()
            report = living.update()
            states.append((report, [_find(living, question.question) for question in changed]))
        stream, difference = _stream(changed, updates, states, batched)
        console.print("single changes")
        changes = _changes(living, load_llm(max_tokens=MAX_TOKENS), CHANGES[::every])
        console.print("deletion of all documents of the development questions")
        gone = {source for question in single for source in question.sources}
        for document in sorted(gone - {change.document for change in CHANGES[::every] if change.kind == "delete"}):
            living.systems.delete(document)
        living.update()
        found = [_find(living, question.question) for question in single]
    answers = kept_answers(batched, numbered(READER_PROMPT, single, found), "deleted documents")
    console.print("versions")
    followed = {
        kind: {
            "index": count(row["indexed"] for row in changes if row["change"] == kind),
            "answer": count(row["followed"] for row in changes if row["change"] == kind),
        }
        for kind in KINDS
    }
    result: dict[str, Any] = {
        "n": len(changed),
        "split": "dev, train",
        "kinds": ["changed", "single"],
        "seed": 0,
        "model": model_name(batched),
        "inputs": inputs_hash(),
        "changes": changes,
        "seconds": {kind: _seconds([r for r in changes if kind in ("all", r["change"])]) for kind in (*KINDS, "all")},
        "followed": followed,
        "stream": stream,
        "difference": difference,
        "deleted": deleted(single, found, answers, gone),
        "versions": _versions(embedder, every),
    }
    return {**result, "verdicts": verdicts(result)}


def changed_questions() -> list[Question]:
    """The questions of dev and train whose right answer changes; those held out stay so."""
    return [*load_questions("dev", kinds=["changed"]), *load_questions("train", kinds=["changed"])]


def score_state(
    history: Sequence[Sequence[Question]], found: Sequence[Passages], answers: Sequence[str]
) -> dict[str, list[float]]:
    """How one index does at one date.

    Args:
        history: for each question how it stood on the first day, after the first batch, ... up to that date.
        found: the passages given for each question.
        answers: what was answered.

    Returns:
        ``hit`` and ``correct`` of the questions that are answerable at the date; ``stale`` of those whose answer is
        another one than on the first day: whether an earlier answer is given, and not the one that is right now.
    """
    rows: dict[str, list[float]] = {"hit": [], "correct": [], "stale": []}
    for versions, passages, text in zip(history, found, answers, strict=True):
        now = versions[-1]
        right = now.answerable and contains_answer(text, now.accepted)
        if now.answerable:
            rows["hit"].append(tells(passages, now))
            rows["correct"].append(right)
        if now.answer != versions[0].answer:
            former = [
                wording for old in versions if old.answerable and old.answer != now.answer for wording in old.accepted
            ]
            rows["stale"].append(not right and contains_answer(text, former))
    return rows


def deleted(
    questions: Sequence[Question], found: Sequence[Passages], answers: Sequence[str], gone: set[str]
) -> dict[str, Any]:
    """What is left of deleted documents in passages and answers.

    An answer that holds a deleted document's fact while a passage that was given holds the same words was read there:
    a coincidence.
    """
    rows, coincidences = [], 0
    for question, passages, text in zip(questions, found, answers, strict=True):
        said = contains_answer(text, question.accepted)
        elsewhere = any(contains_answer(passage.page_content, question.accepted) for passage in passages)
        rows.append(said and not elsewhere)
        coincidences += said and elsewhere
    return {
        "documents": len(gone),
        "passages": count(any(p.metadata["source"] in gone for p in passages) for passages in found),
        "answers": count(rows),
        "coincidences": coincidences,
    }


def verdicts(result: Mapping[str, Any]) -> dict[str, str]:
    """R+2, RU3 and RU4, by the rules that lesson 03 fixes before it looks."""
    left = result["deleted"]["passages"]["count"] + result["deleted"]["answers"]["count"]
    behind = any(row["index"]["count"] < row["index"]["n"] for row in result["followed"].values())
    versions, gain = result["versions"], result["difference"]["correct"]
    return {
        "R+2": "does not hold here" if left or behind else "holds",
        "RU3": _fits(versions["as_of"]["hit3"], 0.5),
        "RU4": _fits(gain, 0.0),
    }


def inputs_hash() -> str:
    """SHA-256 of all in the repository that the figures depend on: when it changes, they are out of date."""
    documents = [(one.id, one.page_content) for one in load_documents(groups=None)]
    later = [(u.date, u.deleted, [(d.id, d.page_content) for d in u.documents], u.questions) for u in load_updates()]
    questions = (changed_questions(), load_questions("dev", kinds=["single"]), _version_questions())
    settings = (MAX_TOKENS, READER_PROMPT, CHANGES, TODAY, DEPTH, PASSAGE_TOKENS, READER_K, weights_hash(READER))
    return hashlib.sha256(repr((settings, documents, later, questions)).encode()).hexdigest()


def table(result: dict[str, Any]) -> Table:
    """The study for the terminal."""
    grid = Table("what", "figure", "value, 95% interval")
    for name, row in result["seconds"].items():
        if row["n"]:
            spread = f"{row['median']:.2f} [{row['low']:.2f} to {row['high']:.2f}], n={row['n']}"
            grid.add_row(name, "seconds, median [fastest to slowest]", spread)
    for name, row in result["followed"].items():
        for what, figure in row.items():
            grid.add_row(name, f"{what} follows", words(figure))
    for row in result["stream"]:
        for index in ("living", "frozen"):
            figures = ", ".join(f"{name} {words(row[index][name])}" for name in ("hit", "correct", "stale"))
            grid.add_row(row["date"], index, figures)
    for name, figure in result["difference"].items():
        grid.add_row("living minus frozen", name, words(figure))
    for name in ("passages", "answers"):
        grid.add_row("deleted documents", name, words(result["deleted"][name]))
    for way in ("unfiltered", "as_of", "current_only", "difference"):
        for name, figure in result["versions"][way].items():
            grid.add_row(f"versions, {way}", name, words(figure))
    for claim, verdict in result["verdicts"].items():
        grid.add_row(claim, "verdict", verdict)
    return grid


def _find(living: LivingIndex, question: str) -> Passages:
    return living.retriever(k=READER_K).search(question)[0]


def _stream(
    questions: Sequence[Question],
    updates: Sequence[Update],
    states: Sequence[tuple[Any, Sequence[Passages]]],
    llm: BaseChatModel,
) -> tuple[list[dict[str, Any]], dict[str, Figure]]:
    history = [questions_after(questions, updates[:number]) for number in range(len(states))]
    answers = _answers(llm, questions, [found for _, found in states])
    rows, last = [], dict[str, dict[str, list[float]]]()
    for number, (report, found) in enumerate(states):
        versions = [[state[i] for state in history[: number + 1]] for i in range(len(questions))]
        last = {
            "living": score_state(versions, found, answers[number]),
            "frozen": score_state(versions, states[0][1], answers[0]),
        }
        now = history[number]
        answerable = [question.family for question in now if question.answerable]
        other = [q.family for q, first in zip(now, questions, strict=True) if q.answer != first.answer]
        rows.append(
            {
                "date": updates[number - 1].date if number else TODAY,
                "title": updates[number - 1].title if number else "The first day",
                "changed": report.added + report.updated,
                "deleted": report.deleted,
                "embedded": report.embedded,
                "sync_seconds": report.seconds,
                "n": len(answerable),
                **{
                    index: {
                        "hit": share(scores["hit"], answerable),
                        "correct": share(scores["correct"], answerable),
                        "stale": count(map(bool, scores["stale"]), other),
                    }
                    for index, scores in last.items()
                },
            }
        )
    families = [question.family for question in history[-1] if question.answerable]
    difference = {
        name: paired_difference(last["living"][name], last["frozen"][name], families).as_dict()
        for name in ("hit", "correct")
    }
    return rows, difference


def _answers(llm: BaseChatModel, questions: Sequence[Question], found: Sequence[Sequence[Passages]]) -> list[list[str]]:
    """The answers in each state; a question that is given the same passages again is not asked again."""

    def key(question: Question, passages: Passages) -> tuple[str, ...]:
        return (question.id, *(passage.page_content for passage in passages))

    asked = {key(q, p): (q, p) for state in found for q, p in zip(questions, state, strict=True)}
    prompts = numbered(READER_PROMPT, [q for q, _ in asked.values()], [p for _, p in asked.values()])
    by_key = dict(zip(asked, kept_answers(llm, prompts, "the update stream"), strict=True))
    return [[by_key[key(q, p)] for q, p in zip(questions, state, strict=True)] for state in found]


def _changes(living: LivingIndex, llm: BaseChatModel, changes: Sequence[SourceChange]) -> list[dict[str, Any]]:
    rag = Rag(living.retriever(k=READER_K), llm, READER_PROMPT, READER_K)
    rows = []
    for change in changes:
        before = rag.ask(change.question)
        started = time.perf_counter()
        change.apply(living.systems)
        report = living.update()
        synced = time.perf_counter()
        after = rag.ask(change.question)
        ended = time.perf_counter()
        # a new page names no document, so it is known by its number
        source = living.systems.find(change.document).id if change.kind == "add" else change.document
        held = living.index.get(where={"source": source}, include=["documents"])["documents"]
        rows.append(
            {
                "change": change.kind,
                "document": change.document,
                "system": change.system,
                "question": change.question,
                "sync_seconds": synced - started,
                "embedded": report.embedded,
                "answer_seconds": ended - synced,
                "seconds": ended - started,
                "before": before.text,
                "after": after.text,
                "indexed": follows(change, held),
                "followed": contains_answer(after.text, [change.new])
                if change.new
                else not contains_answer(after.text, [change.old]),
            }
        )
    return rows


def follows(change: SourceChange, held: Sequence[str]) -> bool:
    """Whether what the index holds of the document is what the source says now, and nothing that it said before."""
    if not change.new:
        return not held
    stale = change.texts[0] if change.kind == "edit" else ""
    return any(contains_answer(text, [change.new]) for text in held) and not any(stale and stale in t for t in held)


def _seconds(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    values = [row["seconds"] for row in rows]
    if not values:
        return {"median": 0.0, "low": 0.0, "high": 0.0, "n": 0}
    return {"median": median(values), "low": min(values), "high": max(values), "n": len(values)}


def _version_questions() -> list[tuple[Question, str]]:
    """Questions on a document that has another version, and the day for which each asks."""
    documents = {str(document.id): document for document in load_documents()}
    ends = {key: one.metadata["superseded_by"] for key, one in documents.items() if one.metadata["superseded_by"]}
    days = {key: _day_before(documents[later].metadata["date"]) for key, later in ends.items()}
    days |= {later: TODAY for later in ends.values() if later not in ends}
    questions = [q for split in ("dev", "train") for q in load_questions(split, kinds=["single"])]
    return [(question, days[question.sources[0]]) for question in questions if question.sources[0] in days]


def _day_before(date: str) -> str:
    return (dt.date.fromisoformat(date) - dt.timedelta(days=1)).isoformat()


def _versions(embedder: Embeddings, every: int) -> dict[str, Any]:
    """How often the right version of a regulated document comes first, without and with a filter by date."""
    documents = load_documents()
    asked = _version_questions()[::every]
    passages = split_documents(load_documents(groups=None), PASSAGE_TOKENS)
    index = build_index(passages, embedder)
    by_id = {str(document.id): document for document in documents}
    families = [question.family for question, _ in asked]
    filters: dict[str, Callable[[str], list[Document]]] = {
        "unfiltered": lambda _: documents,
        "as_of": lambda day: in_force(documents, day),
        "current_only": lambda _: [one for one in documents if one.metadata["status"] == "current"],
    }
    scores: dict[str, dict[str, list[bool]]] = {}
    for way, chosen in filters.items():
        scores[way] = {"first": [], "hit1": [], "hit3": []}
        for question, day in asked:
            versions = {"source": {"$in": [str(one.id) for one in chosen(day)]}}
            where: dict[str, Any] = {"$and": [access_filter([EVERYONE]), versions]}
            found = index.similarity_search_by_vector_with_relevance_scores(
                embedder.embed_query(question.question),
                k=DEPTH,
                filter=where,
            )
            row = score_versions(question, [passage for passage, _ in found], by_id)
            for name, value in row.items():
                scores[way][name].append(value)
    current = [i for i, (_, day) in enumerate(asked) if day == TODAY]
    result: dict[str, Any] = {
        "n": len(asked),
        "n_current": len(current),
        "documents": len({question.sources[0] for question, _ in asked}),
    }
    for way in ("unfiltered", "as_of"):
        result[way] = {name: share(values, families) for name, values in scores[way].items()}
    kept = [families[i] for i in current]
    result["current_only"] = {
        name: share([values[i] for i in current], kept) for name, values in scores["current_only"].items() if current
    }
    result["difference"] = {
        "first": paired_difference(scores["as_of"]["first"], scores["unfiltered"]["first"], families).as_dict()
    }
    return result


def score_versions(question: Question, found: Passages, documents: Mapping[str, Document]) -> dict[str, bool]:
    """Whether the right version is ranked above the others of its document, and its evidence among the first."""
    own = question.sources[0]
    family = {
        key
        for key, one in documents.items()
        if key == own or one.metadata["superseded_by"] == own or documents[own].metadata["superseded_by"] == key
    }
    first = next((p.metadata["source"] for p in found if p.metadata["source"] in family), None)
    golden = golden_passages(question, found)
    return {
        "first": first == own,
        "hit1": any(str(passage.id) in golden for passage in found[:1]),
        "hit3": any(str(passage.id) in golden for passage in found[:3]),
    }


def _fits(figure: Figure, bound: float) -> str:
    if figure["low"] > bound:
        return "fits"
    return "does not fit here" if figure["high"] < bound else "not decidable here"
