"""Metrics for answers and for retrieval."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

ARTICLES = re.compile(r"\b(a|an|the)\b")
# a comma between digits is part of a number: 1,150 and 1150 are one answer
THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
# a full stop or colon between digits too (2.6 ml/h, 21:15), so that 26 ml/h stays a different answer
PUNCTUATION = re.compile(rf"(?<!\d)[{re.escape(string.punctuation)}]|[{re.escape(string.punctuation)}](?!\d)")
ABSTENTIONS = (
    "not in the documents",
    "not in the passages",
    "not stated",
    "not mentioned",
    "not specified",
    "not provided",
    "does not say",
    "do not say",
    "don't know",
    "do not know",
    "no information",
    "cannot answer",
    "can't answer",
)


def normalise(text: str) -> str:
    """Lower case, without articles, punctuation and extra spaces.

    After the SQuAD evaluation script (Rajpurkar et al., 2016, arXiv:1606.05250), except that marks inside numbers
    are kept, and % is a word: SQuAD's own form makes 2.6 and 26, or 9 and 9%, the same answer.
    """
    text = THOUSANDS.sub("", text.lower().replace("%", " percent "))
    text = PUNCTUATION.sub(" ", text)
    return " ".join(ARTICLES.sub(" ", text).split())


def exact_match(answer: str, accepted: Sequence[str]) -> bool:
    """Whether the answer is one of the accepted wordings and nothing more."""
    return normalise(answer) in {normalise(gold) for gold in accepted}


def contains_answer(answer: str, accepted: Sequence[str]) -> bool:
    """Whether an accepted wording stands in the answer as whole words: the workshop's 'correct'.

    A full sentence may surround the fact; an answer that lists several candidates can profit from that, so the
    answers are kept short.
    """
    padded = f" {normalise(answer)} "
    return any(f" {normalise(gold)} " in padded for gold in accepted if normalise(gold))


def token_f1(answer: str, accepted: Sequence[str]) -> float:
    """The best F1 of the answer's words against an accepted wording (SQuAD's definition)."""
    return max(_f1(normalise(answer).split(), normalise(gold).split()) for gold in accepted)


def _f1(answer: list[str], gold: list[str]) -> float:
    if not answer or not gold:
        return float(answer == gold)
    shared = sum((Counter(answer) & Counter(gold)).values())
    return 2 * shared / (len(answer) + len(gold))


def abstains(answer: str) -> bool:
    """Whether the answer says that it does not know."""
    lowered = answer.lower()
    return not lowered.strip() or any(phrase in lowered for phrase in ABSTENTIONS)


def hit(retrieved: Sequence[str], gold: Sequence[str]) -> bool:
    """Whether one of the gold ids is among the retrieved ones."""
    return bool(set(retrieved) & set(gold))


def reciprocal_rank(relevant: Sequence[bool]) -> float:
    """1 over the rank of the first relevant result, 0 when there is none; its mean is the MRR (Voorhees, TREC-8)."""
    return next((1 / rank for rank, yes in enumerate(relevant, start=1) if yes), 0.0)
