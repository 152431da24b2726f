"""RAFT: an adapter that learns to read what the search really finds, to cite it, and to say when it is not there.

After Zhang et al. (2024, arXiv:2403.10131), who train on questions with the *golden* passage among distractors, and
leave it out in a share of the examples. There the model is to know the fact then; here it is to say that it does not.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from langchain_core.documents import Document

from workshop_utils.corpus import Question, load_documents, load_questions, load_training_questions, split_documents
from workshop_utils.corpus.questions import NO_ANSWER, golden_passages
from workshop_utils.models import load_embedder, load_tokenizer
from workshop_utils.models.adapters import RAFT, READER
from workshop_utils.rag.prompts import PASSAGE_TOKENS, READER_K, READER_PROMPT
from workshop_utils.retrieval.hybrid import CANDIDATES
from workshop_utils.retrieval.rankings import hybrid_rankings
from workshop_utils.tuning import reader
from workshop_utils.tuning.supervised import Example, Row, encode_examples
from workshop_utils.tuning.trainer import train_adapter

# it goes on from the reader, so it has the reader's rank and layers; one example at a time, since passages are long and
# what is computed at once must fit into a laptop's memory
SETTINGS = replace(reader.SETTINGS, epochs=2, batch_size=1, accumulate=8)
DEV_EXAMPLES = 40


@dataclass(frozen=True)
class Recipe:
    """What an example shows.

    Attributes:
        passages: how many, as many as the model will be given when it answers.
        share_without: of the questions with an answer, those that are shown without it: 1 - P in the paper.
    """

    passages: int = READER_K
    share_without: float = 0.2


# the recipe of the adapter that comes with the workshop
RECIPE = Recipe()


def train_raft(folder: Path = RAFT) -> dict[str, Any]:
    """Train the RAFT adapter on the company's training questions; interrupted, the next call goes on.

    Returns:
        The report: see ``train_adapter``.

    Raises:
        workshop_utils.models.store.ModelStoreError: the base model cannot be had.
        workshop_utils.models.transformers_chat.AdapterError: the reader adapter is missing or damaged.
    """
    return train_adapter(raft_rows(), folder, SETTINGS, dev=dev_rows(), start_from=READER)


def raft_rows(recipe: Recipe = RECIPE, n: int | None = None) -> list[Row]:
    """The first ``n`` training questions in one shuffled order (all when None) as ``train_adapter`` reads them."""
    questions = load_training_questions()
    random.Random(SETTINGS.seed).shuffle(questions)
    return _encoded(questions[:n], recipe)


def dev_rows(recipe: Recipe = RECIPE) -> list[Row]:
    """Questions of the development split in the same form, to measure the loss on."""
    questions = load_questions("dev", kinds=["single", "multi", "changed", "unanswerable"])
    random.Random(SETTINGS.seed).shuffle(questions)
    return _encoded(questions[:DEV_EXAMPLES], recipe)


def raft_examples(
    questions: Sequence[Question],
    rankings: Sequence[Sequence[Document]],
    passages: Sequence[Document],
    recipe: Recipe = RECIPE,
    *,
    seed: int = 0,
) -> Iterator[Example]:
    """Questions as the RAG system will ask them, with the answer that is wanted.

    The passages stand as the search ranks them. A golden one that it did not find takes the last place; without golden
    passages, those that hold the answer's words are passed over too. A question whose evidence a split has cut apart,
    or that needs more passages than are shown, is left out.

    Args:
        questions: to train on.
        rankings: of each question what the search finds, best first; more than are shown.
        passages: all that there are, among them the golden ones that the search did not find.
        seed: draws which questions are shown without their golden passages.

    Raises:
        ValueError: not as many rankings as questions.
    """
    rng = random.Random(seed)
    for question, ranking in zip(questions, rankings, strict=True):
        without = rng.random() < recipe.share_without
        if not question.answerable:
            yield _example(question, ranking[: recipe.passages], {})
            continue
        golden = golden_passages(question, passages)
        if without:
            others = [p for p in ranking if str(p.id) not in golden and not _says(p.page_content, question)]
            yield _example(question, others[: recipe.passages], {})
            continue
        needed = _needed(question, ranking, passages)
        if needed is None or len(needed) > recipe.passages:
            continue
        distractors = [p for p in ranking if str(p.id) not in golden][: recipe.passages - len(needed)]
        yield _example(question, _as_ranked([*distractors, *needed.values()], ranking), needed)


def _as_ranked(shown: Sequence[Document], ranking: Sequence[Document]) -> list[Document]:
    """The same in the order of the search, those that it did not find last."""
    places = {str(passage.id): place for place, passage in enumerate(ranking)}
    return sorted(shown, key=lambda passage: places.get(str(passage.id), len(ranking)))


def _needed(
    question: Question, ranking: Sequence[Document], passages: Sequence[Document]
) -> dict[str, Document] | None:
    """By id a passage for each piece of evidence, the best ranked; None where a piece is in no passage."""
    found: dict[str, Document] = {}
    for part in question.evidence:
        keys = golden_passages(replace(question, evidence=(part,)), passages)
        best = next((p for p in (*ranking, *passages) if str(p.id) in keys), None)
        if best is None:
            return None
        found[str(best.id)] = best
    return found or None


def _example(question: Question, shown: Sequence[Document], needed: dict[str, Document]) -> Example:
    labelled = [(str(number), passage) for number, passage in enumerate(shown, start=1)]
    cited = ", ".join(label for label, passage in labelled if str(passage.id) in needed)
    answer = f"[{cited}] {question.answer}" if needed else NO_ANSWER
    return Example(tuple(READER_PROMPT.messages(question.question, labelled)), answer)


def _says(text: str, question: Question) -> bool:
    lowered = text.lower()
    return any(wording.lower() in lowered for wording in question.accepted)


def _encoded(questions: Sequence[Question], recipe: Recipe) -> list[Row]:
    passages = split_documents(load_documents(), PASSAGE_TOKENS)
    rankings = hybrid_rankings(questions, passages, load_embedder(), CANDIDATES)
    return encode_examples(load_tokenizer(), raft_examples(questions, rankings, passages, recipe, seed=SETTINGS.seed))
