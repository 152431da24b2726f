"""The reader set's examples: every question with the passages that a model will have to choose from."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from langchain_core.documents import Document

from workshop_utils.corpus.reader_set import ReaderExample, ReaderPassage, ReaderSplit, load_reader_passages
from workshop_utils.corpus.records import read_records
from workshop_utils.retrieval.bm25 import Bm25Retriever

SEED = 20251130
# distractors that share the question's words, and one drawn by chance from the same organisation
CLOSE, DRAWN = 3, 1
UNANSWERABLE = 0.15
# no passage of these is trained on
DEV_ORGANISATIONS = ("tidewater-ferries",)


@dataclass(frozen=True)
class ReaderQuestion:
    """A written question; ``answer`` and ``source`` are None where no passage of the organisation answers."""

    id: str
    question: str
    answer: str | None
    source: str | None

    @property
    def near(self) -> str:
        """The passage that it was written at."""
        return self.id.rsplit("-", 1)[0]


def make_examples(folder: Path) -> dict[ReaderSplit, list[ReaderExample]]:
    """The examples of both splits, made of ``passages.jsonl`` and ``questions.jsonl``; the same ones each time.

    Where too few questions were written without an answer, the passage with the answer is left out of some others.

    Raises:
        workshop_utils.corpus.CorpusError: a line is no passage or question; the message names file and line.
    """
    rng = random.Random(SEED)
    passages = load_reader_passages(folder)
    questions = read_records(folder / "questions.jsonl", lambda record: ReaderQuestion(**record))
    searches = {
        organisation: _search([passage for passage in passages.values() if passage.organisation == organisation])
        for organisation in sorted({passage.organisation for passage in passages.values()})
    }
    examples: dict[ReaderSplit, list[ReaderExample]] = {"train": [], "dev": []}
    for split in examples:
        chosen = [q for q in questions if (passages[q.near].organisation in DEV_ORGANISATIONS) == (split == "dev")]
        answerable = [question.id for question in chosen if question.source]
        missing = round(UNANSWERABLE * len(chosen)) - (len(chosen) - len(answerable))
        withheld = set(rng.sample(answerable, max(0, missing)))
        for question in chosen:
            golden = passages[question.source] if question.source and question.id not in withheld else None
            avoid = {question.near} if question.source else set[str]()
            shown = _distractors(question, searches[passages[question.near].organisation], avoid, rng)
            if golden:
                shown[-1] = golden
            rng.shuffle(shown)
            examples[split].append(
                ReaderExample(
                    question.id,
                    question.question,
                    tuple(shown),
                    question.answer if golden else None,
                    golden.id if golden else None,
                )
            )
        rng.shuffle(examples[split])
    return examples


def _search(passages: Sequence[ReaderPassage]) -> Bm25Retriever:
    documents = [Document(id=p.id, page_content=f"{p.title}\n{p.text}", metadata={"passage": p}) for p in passages]
    return Bm25Retriever(passages=documents, k=len(documents), groups=None)


def _distractors(
    question: ReaderQuestion, search: Bm25Retriever, avoid: set[str], rng: random.Random
) -> list[ReaderPassage]:
    """Passages that do not answer: the closest ones, then some by chance; one place is the golden passage's."""
    ranked = [document for document in search.invoke(question.question) if document.id not in avoid]
    close = [document.metadata["passage"] for document in ranked[:CLOSE]]
    taken = avoid | {passage.id for passage in close}
    rest = [document.metadata["passage"] for document in search.passages if document.id not in taken]
    return close + rng.sample(rest, CLOSE + DRAWN + 1 - len(close))
