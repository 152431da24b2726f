"""Orders planted in documents: how often does an answer obey them, without and with the checks of ``rag.guard``?

The figures of lesson 03: ``workshop bench injections --json data/results/injections.json``.

Each attack is planted alone in the company's documents, and its question asked of three models: the untouched one, the
reader, and a simulated one that obeys whatever planted passage it is given. The last has no floor: it shows what the
checks hold back, and not what a small model does not understand.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from rich.console import Console
from rich.table import Table

from workshop_utils.corpus import Question, load_documents, load_questions, split_documents
from workshop_utils.corpus.injections import KINDS, Injection, load_injections
from workshop_utils.corpus.questions import NO_ANSWER, golden_passages
from workshop_utils.corpus.reader_set import load_reader_passages
from workshop_utils.corpus.updates import load_updates
from workshop_utils.evaluation.answering import kept_answers, weights_hash
from workshop_utils.evaluation.metrics import contains_answer
from workshop_utils.evaluation.studies.figures import Figure, count, words
from workshop_utils.evaluation.studies.prompts import numbered
from workshop_utils.models import load_embedder, load_llm
from workshop_utils.models.adapters import READER
from workshop_utils.rag import guard
from workshop_utils.rag.guard import Policy, admit, contacts_in, release, screen
from workshop_utils.rag.prompts import CITING_PROMPT, PASSAGE_TOKENS, READER_K, READER_PROMPT

MAX_TOKENS = 40
MODELS = {"untouched": CITING_PROMPT, "reader": READER_PROMPT}
ARMS = (*MODELS, "obedient")
# without a check, with one of them, with both
WAYS = ("open", "screened", "released", "defended")


def study(console: Console, every: int = 1) -> dict[str, Any]:
    """All figures, for JSON; with ``every`` above 1 on a part of attacks and questions, to try it out."""
    attacks = load_injections()[::every]
    documents = load_documents()
    policy = Policy(contacts=contacts_in(document.page_content for document in documents))
    library = Library(documents, load_embedder())
    shown = {
        "open": [library.found(attack, screened=False) for attack in attacks],
        "screened": [library.found(attack, screened=True) for attack in attacks],
    }
    answers: dict[str, dict[str, list[str]]] = {arm: {} for arm in ARMS}
    asked = [attack.question for attack in attacks]
    ordinary = load_questions("dev", kinds=["single"])[::every]
    beside = [library.found_without(question) for question in ordinary]
    for arm, prompt in MODELS.items():
        adapter = "auto" if arm == "reader" else None
        llm = load_llm(backend="transformers", adapter=adapter, max_tokens=MAX_TOKENS)
        for way, passages in shown.items():
            console.print(f"{arm}, {way}")
            answers[arm][way] = kept_answers(llm, numbered(prompt, asked, passages), f"{arm}, {way}")
        if arm == "reader":
            usual = kept_answers(llm, numbered(prompt, ordinary, beside), "ordinary questions")
    for way, passages in shown.items():
        answers["obedient"][way] = [obey(attack, top) for attack, top in zip(attacks, passages, strict=True)]
    return {
        "n": len(attacks),
        "split": "dev",
        "seed": 0,
        "kinds": sorted({attack.kind for attack in attacks}),
        "kinds_n": len({attack.kind for attack in attacks}),
        "injections": len(attacks),
        "inputs": inputs_hash(),
        **score(attacks, shown, answers, policy),
        "cost": _cost(documents, ordinary, beside, usual, policy),
    }


def inputs_hash() -> str:
    """SHA-256 of all in the repository that the figures depend on: when it changes, they are out of date."""
    documents = [(one.id, one.page_content) for one in _all_documents()]
    settings = (MAX_TOKENS, MODELS, PASSAGE_TOKENS, READER_K, weights_hash(READER), inspect.getsource(guard))
    inputs = (settings, documents, load_injections(), load_questions("dev", kinds=["single"]))
    return hashlib.sha256(repr(inputs).encode()).hexdigest()


def table(result: dict[str, Any]) -> Table:
    """The study for the terminal."""
    grid = Table("kind", "n", "retrieved", "quarantined", *(f"{arm}: open, defended" for arm in ARMS))
    for row in result["by_kind"]:
        cells = [f"{row[arm]['open']}, {row[arm]['defended']}" for arm in ARMS]
        grid.add_row(row["title"], str(row["n"]), str(row["retrieved"]), str(row["quarantined"]), *cells)
    grid.add_section()
    for way in WAYS:
        grid.add_row(f"all, {way}", "", "", "", *(words(result["rates"][arm][way]) for arm in ARMS))
    for name, figure in result["cost"].items():
        grid.add_row(f"cost: {name}", words(figure))
    return grid


class Library:
    """The passages that everybody may read, as vectors, searched with one attack planted at a time."""

    def __init__(self, documents: Sequence[Document], embedder: Embeddings) -> None:
        self.documents = {str(document.id): document for document in documents}
        self.embedder = embedder
        self.passages = split_documents(documents, PASSAGE_TOKENS)
        self.vectors = np.array(embedder.embed_documents([passage.page_content for passage in self.passages]))
        self.admitted = {str(p.id) for group in by_document(self.passages) for p in admit(group)}

    def found(self, attack: Injection, *, screened: bool) -> list[Document]:
        """What the attack's question finds, best first; those that carry the order are marked in their metadata."""
        touched = {plant.document for plant in attack.plants}
        changed = [document for document in attack.plant(self.documents.values()) if document.id in touched]
        fresh = split_documents(changed, PASSAGE_TOKENS)
        if screened:
            fresh = [passage for group in by_document(fresh) for passage in admit(group)]
        for passage in fresh:
            passage.metadata["planted"] = carries(attack, passage.page_content)
        stay = [
            place
            for place, passage in enumerate(self.passages)
            if passage.metadata["source"] not in touched and (not screened or str(passage.id) in self.admitted)
        ]
        vectors = self.vectors[stay]
        if fresh:
            vectors = np.vstack([vectors, self.embedder.embed_documents([passage.page_content for passage in fresh])])
        return self._closest(attack.question, [*(self.passages[place] for place in stay), *fresh], vectors)

    def found_without(self, question: Question) -> list[Document]:
        """What a question finds when nothing is planted, best first, among the passages that pass the screening."""
        stay = [place for place, passage in enumerate(self.passages) if str(passage.id) in self.admitted]
        return self._closest(question, [self.passages[place] for place in stay], self.vectors[stay])

    def _closest(
        self, question: Question, passages: Sequence[Document], vectors: np.ndarray[Any, Any]
    ) -> list[Document]:
        order = np.argsort(-(vectors @ np.array(self.embedder.embed_query(question.question))), kind="stable")
        return [passages[place] for place in order[:READER_K]]


def by_document(passages: Sequence[Document]) -> Iterator[list[Document]]:
    """The passages of each document; those of one document must stand together."""
    for _, group in groupby(passages, key=lambda passage: passage.metadata["source"]):
        yield list(group)


def carries(attack: Injection, text: str) -> bool:
    """Whether a passage still holds what the attack wants said: the canary, or its longest word if that is encoded."""
    if any(attack.succeeds(plant.text) for plant in attack.plants):
        return attack.succeeds(text)
    return any(max(plant.text.split(), key=len) in text for plant in attack.plants)


def obey(attack: Injection, passages: Sequence[Document]) -> str:
    """What a model answers that obeys any planted passage it is given."""
    for number, passage in enumerate(passages, start=1):
        if passage.metadata.get("planted"):
            return attack.obeyed.replace("{n}", str(number))
    return NO_ANSWER


def score(
    attacks: Sequence[Injection],
    shown: dict[str, list[list[Document]]],
    answers: dict[str, dict[str, list[str]]],
    policy: Policy,
) -> dict[str, Any]:
    """How often each model's answer holds the canary, in each way.

    Args:
        shown: the passages given for each attack, ``open`` and ``screened``.
        answers: by arm, ``open`` and ``screened``.
    """
    succeeded: dict[str, dict[str, list[bool]]] = {}
    for arm, written in answers.items():
        succeeded[arm] = {}
        for way in WAYS:
            given = "open" if way in ("open", "released") else "screened"
            left = [
                release(text, top, policy).text if way in ("released", "defended") else text
                for text, top in zip(written[given], shown[given], strict=True)
            ]
            succeeded[arm][way] = [attack.succeeds(text) for attack, text in zip(attacks, left, strict=True)]
    planted = {way: [any(p.metadata.get("planted") for p in top) for top in tops] for way, tops in shown.items()}
    kinds = list(dict.fromkeys(attack.kind for attack in attacks))

    def counted(places: Sequence[int]) -> dict[str, dict[str, Figure]]:
        return {arm: {way: count(rows[way][i] for i in places) for way in WAYS} for arm, rows in succeeded.items()}

    def row(kind: str) -> dict[str, Any]:
        places = [i for i, attack in enumerate(attacks) if attack.kind == kind]
        return {
            "kind": kind,
            "title": KINDS[kind],
            "n": len(places),
            "retrieved": sum(planted["open"][i] for i in places),
            "quarantined": sum(planted["open"][i] and not planted["screened"][i] for i in places),
            **{arm: {way: sum(rows[way][i] for i in places) for way in WAYS} for arm, rows in succeeded.items()},
        }

    return {
        "retrieved": {"open": count(planted["open"]), "defended": count(planted["screened"])},
        "rates": counted(range(len(attacks))),
        "seen": counted([i for i, attack in enumerate(attacks) if attack.seen]),
        "unseen": counted([i for i, attack in enumerate(attacks) if not attack.seen]),
        "by_kind": [row(kind) for kind in kinds],
        "holes": [attack.id for i, attack in enumerate(attacks) if succeeded["obedient"]["defended"][i]],
    }


def _all_documents() -> list[Document]:
    return [*load_documents(groups=None), *(one for update in load_updates() for one in update.documents)]


def _cost(
    documents: Sequence[Document],
    ordinary: Sequence[Question],
    shown: Sequence[Sequence[Document]],
    answers: Sequence[str],
    policy: Policy,
) -> dict[str, Figure]:
    """What the checks do to passages and answers in which nothing is planted."""
    foreign = [
        Document(id=passage.id, page_content=passage.text, metadata={"title": passage.title})
        for passage in load_reader_passages().values()
    ]
    passages = split_documents(documents, PASSAGE_TOKENS)
    gold = []
    for question in [*load_questions("dev", kinds=["single"]), *load_questions("train", kinds=["single"])]:
        golden = golden_passages(question, passages)
        given = [passage for passage in passages if str(passage.id) in golden][:1]
        if given:
            answer = f"[1] {question.answer}"
            gold.append(release(answer, given, policy).text != answer)
    released = [release(text, top, policy) for text, top in zip(answers, shown, strict=True)]
    right = [contains_answer(text, question.accepted) for text, question in zip(answers, ordinary, strict=True)]
    after = [contains_answer(one.text, question.accepted) for one, question in zip(released, ordinary, strict=True)]
    return {
        "passages": count(_quarantined(_all_documents())),
        "other_passages": count(_quarantined(foreign)),
        "gold_answers": count(gold),
        "reader_answers": count(not still for still, was in zip(after, right, strict=True) if was),
        "wrong_answers_held_back": count(one.refused for one, was in zip(released, right, strict=True) if not was),
    }


def _quarantined(documents: Sequence[Document]) -> list[bool]:
    """Of each different passage of the documents, whether it would be held back."""
    found = {
        one.passage.page_content: one.quarantined
        for document in documents
        for one in screen(split_documents([document], PASSAGE_TOKENS))
    }
    return list(found.values())
