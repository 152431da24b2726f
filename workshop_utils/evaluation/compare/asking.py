"""What each arm is sent for each question, and what it answers."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.messages import BaseMessage

from workshop_utils.corpus import Question, split_documents
from workshop_utils.corpus.questions import NO_ANSWER, golden_passages
from workshop_utils.evaluation.answering import timed_answers, timed_logprobs
from workshop_utils.evaluation.compare.arms import Arm
from workshop_utils.evaluation.compare.material import Material, is_answerable
from workshop_utils.evaluation.studies.prompts import numbered
from workshop_utils.models.transformers_chat import ChatTransformers
from workshop_utils.rag.prompt import Example, Prompt
from workshop_utils.rag.prompts import PASSAGE_TOKENS
from workshop_utils.retrieval.hybrid import CANDIDATES
from workshop_utils.retrieval.rankings import hybrid_rankings

SEED = 0

# by question id the passages found, best first
Found = Mapping[str, Sequence[Document]]


@dataclass(frozen=True)
class Asked:
    """What one arm was asked and what it answered, in the order of the questions.

    Attributes:
        shown: the passages it was given, labelled 1, 2, ...
        chosen: the place of the choice that it finds likeliest; None where a question has no choices or no answer.
        seconds: that answers and choices took.
    """

    questions: tuple[Question, ...]
    shown: tuple[tuple[Document, ...], ...]
    messages: tuple[tuple[BaseMessage, ...], ...]
    answers: tuple[str, ...]
    chosen: tuple[int | None, ...]
    seconds: float


def search(
    questions: Sequence[Question], documents: Sequence[Document], embedder: Embeddings
) -> dict[str, list[Document]]:
    """The passages of the documents that hybrid search finds for each question, by its id."""
    if not questions:
        return {}
    passages = split_documents(documents, PASSAGE_TOKENS)
    return dict(
        zip(
            [question.id for question in questions],
            hybrid_rankings(questions, passages, embedder, CANDIDATES),
            strict=True,
        )
    )


def example_questions(material: Material) -> list[Question]:
    """Candidates for worked examples, in a fixed random order: of each family one with an answer and one without."""
    shuffled = random.Random(SEED).sample(list(material.examples), len(material.examples))
    first: dict[tuple[str, bool], Question] = {}
    for question in shuffled:
        if question.kind in ("single", "unanswerable"):
            first.setdefault((question.family, question.answerable), question)
    return list(first.values())


def prompt_of(arm: Arm, material: Material, found: Found) -> Prompt:
    """The arm's prompt with its worked examples; a quarter of them has no answer, where there are such questions.

    Args:
        found: for the ``example_questions`` too; one whose evidence was not found shows nothing, and is passed over.
    """
    if not arm.shots:
        return arm.prompt
    candidates = [example for q in example_questions(material) if (example := _example(arm, q, found)) is not None]
    silent = [example for example in candidates if example.answer == NO_ANSWER][: arm.shots // 4]
    spoken = [example for example in candidates if example.answer != NO_ANSWER][: arm.shots - len(silent)]
    chosen = random.Random(SEED).sample([*spoken, *silent], len(spoken) + len(silent))
    return replace(arm.prompt, examples=(*arm.prompt.examples, *chosen))


def ask(
    arm: Arm, prompt: Prompt, questions: Sequence[Question], found: Found, llm: ChatTransformers, *, choose: bool = True
) -> Asked:
    """Ask one arm all questions; answers and choices are kept in the cache.

    The choice is the option whose mean log-probability per token, as the arm's reply, is highest: after Ovadia et al.
    (2023, arXiv:2312.05934), who take the likeliest option, but divided by length, since options differ in theirs and
    each further token makes a text less likely. It shows what a model knows and would not say. An arm that cites first
    is given each option after each citation that it could write, and these are added up.

    Args:
        prompt: as ``prompt_of`` returns it.
        llm: with the arm's adapter.
        choose: whether to compute the choices too.
    """
    shown = tuple(tuple(found[question.id][: arm.k]) if arm.retrieves else () for question in questions)
    messages = numbered(prompt, questions, shown)
    answers, seconds = timed_answers(llm, messages, arm.title)
    chosen: list[int | None] = [None] * len(questions)
    places = [i for i, question in enumerate(questions) if choose and question.choices and is_answerable(question)]
    if places:
        replies = [options(arm, questions[i], len(shown[i])) for i in places]
        scores, more = timed_logprobs(
            llm,
            [messages[i] for i in places],
            [[reply for option in own for reply in option] for own in replies],
            f"{arm.title}, choices",
        )
        seconds += more
        for place, own, score in zip(places, replies, scores, strict=True):
            rest = iter(score)
            means = []
            for option in own:
                ways = [next(rest) for _ in option]
                means.append(log_sum([way.total for way in ways]) / ways[0].tokens)
            chosen[place] = means.index(max(means))
    return Asked(
        tuple(questions), shown, tuple(tuple(prompt) for prompt in messages), tuple(answers), tuple(chosen), seconds
    )


def options(arm: Arm, question: Question, passages: int) -> list[list[str]]:
    """For each choice the replies that say it: itself, or after each citation where the arm cites first."""
    if not arm.cites_first or not passages:
        return [[choice] for choice in question.choices]
    return [[f"[{label}] {choice}" for label in range(1, passages + 1)] for choice in question.choices]


def log_sum(values: Sequence[float]) -> float:
    """The logarithm of the sum of what these are logarithms of."""
    highest = max(values)
    return highest + math.log(sum(math.exp(value - highest) for value in values))


def _example(arm: Arm, question: Question, found: Found) -> Example | None:
    if not arm.retrieves:
        return Example((), question.question, question.answer)
    shown = found[question.id][: arm.k]
    texts = tuple(passage.page_content for passage in shown)
    if not question.answerable:
        return Example(texts, question.question, NO_ANSWER)
    golden = golden_passages(question, shown)
    place = next((n for n, passage in enumerate(shown, start=1) if str(passage.id) in golden), None)
    return None if place is None else Example(texts, question.question, f"[{place}] {question.answer}")
