"""What is in data/: counts, splits, lengths and samples of every set."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workshop_utils.corpus.documents import COLLECTIONS, load_documents
from workshop_utils.corpus.general import load_general_choices, load_prose
from workshop_utils.corpus.knowledge import load_knowledge
from workshop_utils.corpus.pairs import load_pairs
from workshop_utils.corpus.questions import KINDS, Question, Split, load_questions
from workshop_utils.corpus.reader_set import ReaderSplit, load_reader_examples, load_reader_passages
from workshop_utils.corpus.tickets import SEVERITIES, Ticket, load_tickets
from workshop_utils.corpus.updates import load_updates

SPLITS: tuple[Split, ...] = ("train", "dev", "test")
READER_SPLITS: tuple[ReaderSplit, ...] = ("train", "dev")
SEED = 7


@dataclass(frozen=True)
class DataSet:
    """One set as it can be shown: its texts by split, and what to say of its classes.

    Attributes:
        texts: the texts whose lengths and samples are shown, by split; ``all`` for a set that is not split.
        classes: name of a grouping -> counts by split and class.
    """

    name: str
    texts: dict[str, list[str]]
    classes: dict[str, dict[str, Counter[str]]]

    def sample(self, number: int) -> list[str]:
        """A few texts, the same ones each time."""
        every = [text for part in self.texts.values() for text in part]
        return random.Random(SEED).sample(every, min(number, len(every)))


def load_sets() -> list[DataSet]:
    """Every set of data/, restricted documents and the held-out questions included."""
    documents = load_documents(groups=None)
    questions = {split: load_questions(split) for split in SPLITS}
    tickets = {split: load_tickets(split) for split in SPLITS}
    style = {split: load_pairs("style", split) for split in SPLITS}
    jargon = {split: load_pairs("jargon", split) for split in SPLITS}
    reader = {split: load_reader_examples(split) for split in READER_SPLITS}
    choices = load_general_choices()
    updates = load_updates()
    return [
        DataSet(
            "documents",
            {"all": [document.page_content for document in documents]},
            {"collection": {"all": _counted((d.metadata["collection"] for d in documents), COLLECTIONS)}},
        ),
        DataSet(
            "questions",
            {split: [_question(question) for question in part] for split, part in questions.items()},
            {"kind": {split: _counted((q.kind for q in part), KINDS) for split, part in questions.items()}},
        ),
        DataSet(
            "tickets",
            {split: [_ticket(ticket) for ticket in part] for split, part in tickets.items()},
            {
                "category": {split: Counter(t.record.category for t in part) for split, part in tickets.items()},
                "severity": {
                    split: _counted((str(t.record.severity) for t in part), map(str, SEVERITIES))
                    for split, part in tickets.items()
                },
                "action": {split: Counter(t.record.action for t in part) for split, part in tickets.items()},
                "device": {split: Counter(t.record.device for t in part) for split, part in tickets.items()},
            },
        ),
        DataSet("style pairs", {s: [f"{p.text}\n-> {p.target}" for p in part] for s, part in style.items()}, {}),
        DataSet("jargon pairs", {s: [f"{p.text}\n-> {p.target}" for p in part] for s, part in jargon.items()}, {}),
        DataSet("reader passages", {"all": [passage.text for passage in load_reader_passages().values()]}, {}),
        DataSet(
            "reader examples",
            {split: [f"{e.question}\n-> {e.answer} [{e.source}]" for e in part] for split, part in reader.items()},
            {
                "answer": {
                    split: Counter("in a passage" if e.source else "nowhere" for e in part)
                    for split, part in reader.items()
                }
            },
        ),
        DataSet("knowledge questions", {"train": [f"{k.question}\n-> {k.answer}" for k in load_knowledge()]}, {}),
        DataSet(
            "general choices",
            {"all": [f"{c.question} {' / '.join(c.choices)}" for c in choices]},
            {"topic": {"all": Counter(c.topic for c in choices)}},
        ),
        DataSet("general prose", {"all": [paragraph.text for paragraph in load_prose()]}, {}),
        DataSet("updates: documents", {u.date: [d.page_content for d in u.documents] for u in updates}, {}),
        DataSet("updates: answers", {u.date: [_question(q) for q in u.questions] for u in updates}, {}),
    ]


def counts(sets: Sequence[DataSet]) -> dict[str, Any]:
    """The sizes, for JSON."""
    size = {s.name: {split: len(part) for split, part in s.texts.items()} for s in sets}
    total = {name: sum(parts.values()) for name, parts in size.items()}
    return {
        "documents": total["documents"],
        "questions": size["questions"],
        "tickets": total["tickets"],
        "style_pairs": total["style pairs"],
        "jargon_pairs": total["jargon pairs"],
        "general_choices": total["general choices"],
        "general_prose": total["general prose"],
        "reader_passages": total["reader passages"],
        "reader_examples": total["reader examples"],
        "knowledge_questions": total["knowledge questions"],
        "updates": len(size["updates: documents"]),
        "splits": size,
        "classes": {s.name: s.classes for s in sets if s.classes},
    }


def _counted(values: Any, order: Any) -> Counter[str]:
    found = Counter(values)
    return Counter({key: found[key] for key in order})


def _question(question: Question) -> str:
    return f"{question.question}\n-> {question.answer}"


def _ticket(ticket: Ticket) -> str:
    record = ticket.record
    return f"{ticket.text}\n-> {record}"
