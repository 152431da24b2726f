"""Answering only when sure: a score that says when to abstain, and what a threshold on it costs and saves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from langchain_core.messages import BaseMessage

from workshop_utils.corpus.questions import NO_ANSWER
from workshop_utils.evaluation.metrics import answer_logprobs
from workshop_utils.models.transformers_chat import ChatTransformers


@dataclass(frozen=True)
class Operating:
    """A system that answers where the score is at most ``threshold``.

    Attributes:
        coverage: share of all questions that it answers.
        risk: share of its answers that are wrong.
        answered: how many questions it answers.
    """

    threshold: float
    coverage: float
    risk: float
    answered: int


def abstention_probability(llm: ChatTransformers, messages: Sequence[BaseMessage]) -> float:
    """The model's probability of the whole answer 'not in the documents' to a conversation.

    Raises:
        workshop_utils.models.transformers_chat.ContextExceededError: the conversation is too long.
    """
    return math.exp(answer_logprobs(llm, messages, [NO_ANSWER])[0].total)


def risk_coverage(doubt: Sequence[float], correct: Sequence[bool], answered: Sequence[bool]) -> list[Operating]:
    """Risk against coverage (El-Yaniv and Wiener, 2010) for every threshold, by rising coverage.

    Args:
        doubt: the score of each question, higher where it should rather not be answered, shape (n,).
        correct: whether its answer is right; no answer to an unanswerable question is.
        answered: whether there is an answer at all; where the model itself abstains, no threshold makes it speak.

    Raises:
        ValueError: the lists are not of one length.
    """
    rows = sorted(zip(doubt, correct, answered, strict=True), key=lambda row: row[0])
    points: list[Operating] = []
    given = right = 0
    for place, (score, is_right, speaks) in enumerate(rows):
        given += speaks
        right += speaks and is_right
        last_of_its_score = place + 1 == len(rows) or rows[place + 1][0] > score
        if given and last_of_its_score and (not points or given > points[-1].answered):
            points.append(Operating(score, given / len(rows), 1 - right / given, given))
    return points


def auroc(doubt: Sequence[float], unanswerable: Sequence[bool]) -> float:
    """How often an unanswerable question has a higher score than an answerable one, ties counting half.

    That is the area under the ROC curve: 0.5 for a score that knows nothing.

    Raises:
        ValueError: the lists are not of one length, or one of the two kinds is missing.
    """
    pairs = list(zip(doubt, unanswerable, strict=True))
    high = np.array([score for score, yes in pairs if yes])
    low = np.array([score for score, yes in pairs if not yes])
    if not high.size or not low.size:
        raise ValueError("Both kinds of questions are needed.")
    return float(np.mean((high[:, None] > low) + 0.5 * (high[:, None] == low)))
