"""What the arms are compared on: documents and questions, the company's or anybody's own."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from langchain_core.documents import Document

from workshop_utils.corpus import Question, data_dir, load_documents, load_training_questions
from workshop_utils.corpus.documents import EVERYONE
from workshop_utils.corpus.updates import documents_after, load_updates, questions_after

QUICK = 60
SEED = 0


@dataclass(frozen=True)
class Later:
    """The material after all its changes.

    Attributes:
        documents: as they stand then.
        questions: those whose right answer is another one then, with that answer.
        former: by question id, every wording of the answers that were right before.
        seconds: from a change at the source to the changed answer, where an index follows; None if not measured.
    """

    documents: tuple[Document, ...]
    questions: tuple[Question, ...]
    former: Mapping[str, tuple[str, ...]]
    seconds: float | None = None


@dataclass(frozen=True)
class Material:
    """Documents, and the questions that are asked on them.

    Attributes:
        split: ``dev`` or ``test`` of the company's questions, or ``own``.
        questions: those asked. One of kind ``restricted`` is asked by somebody who may not read its document.
        documents: all that who asks may read.
        examples: training questions on other documents, from which worked examples are taken.
        later: the same after its changes; None where nothing is known to change.
    """

    split: str
    questions: tuple[Question, ...]
    documents: tuple[Document, ...]
    examples: tuple[Question, ...] = ()
    later: Later | None = None

    def sample(self, size: int = QUICK, seed: int = SEED) -> Material:
        """The same with fewer questions, of each kind its share."""
        chosen = stratified(self.questions, size, seed)
        ids = {question.id for question in chosen}
        later = self.later and replace(self.later, questions=tuple(q for q in self.later.questions if q.id in ids))
        return replace(self, questions=chosen, later=later)


def company(split: str, questions: Sequence[Question]) -> Material:
    """The company's documents that everybody may read, and questions on them; on the first day and after all updates.

    Raises:
        workshop_utils.corpus.documents.CorpusError: a file of the company's breaks the schema.
    """
    updates = load_updates()
    days = [questions_after(questions, updates[:number]) for number in range(len(updates) + 1)]
    changed, former = [], {}
    for history in zip(*days, strict=True):
        now = history[-1]
        if now.answer != history[0].answer:
            changed.append(now)
            former[now.id] = tuple(
                dict.fromkeys(
                    text for old in history[:-1] if old.answerable and old.answer != now.answer for text in old.accepted
                )
            )
    after = documents_after(load_documents(groups=None), updates)
    readable = tuple(document for document in after if EVERYONE in document.metadata["acl"])
    freshness = json.loads((data_dir() / "results" / "freshness.json").read_text("utf-8"))
    return Material(
        split,
        tuple(questions),
        tuple(load_documents()),
        tuple(load_training_questions()),
        Later(readable, tuple(changed), former, freshness["seconds"]["all"]["median"]),
    )


def is_answerable(question: Question) -> bool:
    """Whether there is an answer that who asks may read: a restricted question is asked by who may not."""
    return question.answerable and question.kind != "restricted"


def stratified(questions: Sequence[Question], size: int, seed: int = SEED) -> tuple[Question, ...]:
    """About ``size`` questions in their order, of each kind its share and at least one; all when there are no more."""
    if len(questions) <= size:
        return tuple(questions)
    counts = Counter(question.kind for question in questions)
    rng, chosen = random.Random(seed), set[str]()
    for kind, count in sorted(counts.items()):
        ids = [question.id for question in questions if question.kind == kind]
        chosen |= set(rng.sample(ids, max(1, round(size * count / len(questions)))))
    return tuple(question for question in questions if question.id in chosen)
