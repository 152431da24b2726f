"""Metrics for answers and for retrieval.

Those of a ranking take ids best first, each once, and what trec_eval says of the same ranking they say too.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass

from langchain_core.messages import BaseMessage

from workshop_utils.evaluation.intervals import Estimate, bootstrap
from workshop_utils.models.transformers_chat import ChatTransformers

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


def recall_at_k(retrieved: Sequence[str], gold: Collection[str], k: int) -> float:
    """Share of the gold ids that are among the first k (trec_eval's ``recall_k``).

    Raises:
        ValueError: k is below 1, an id comes twice, or there is no gold id, which leaves nothing to find.
    """
    return len(_top(retrieved, k) & _some(gold)) / len(set(gold))


def precision_at_k(retrieved: Sequence[str], gold: Collection[str], k: int) -> float:
    """Share of the first k places that hold a gold id; places left empty count as wrong (trec_eval's ``P_k``).

    Raises:
        ValueError: k is below 1, or an id comes twice.
    """
    return len(_top(retrieved, k) & set(gold)) / k


def average_precision(retrieved: Sequence[str], gold: Collection[str]) -> float:
    """Mean over the gold ids of the precision at their rank, 0 for those not retrieved; its mean is the MAP.

    Raises:
        ValueError: an id comes twice, or there is no gold id.
    """
    _top(retrieved, 1)
    wanted = _some(gold)
    ranks = [rank for rank, key in enumerate(retrieved, start=1) if key in wanted]
    return sum(found / rank for found, rank in enumerate(ranks, start=1)) / len(wanted)


def ndcg_at_k(retrieved: Sequence[str], gold: Mapping[str, float] | Collection[str], k: int) -> float:
    """Discounted gain of the first k over that of the best possible ranking (Järvelin and Kekäläinen, 2002).

    As trec_eval's ``ndcg_cut_k``: the gain is the grade itself, and rank r divides it by log2(r + 1).

    Args:
        retrieved: ids, best first.
        gold: grades by id, those not above 0 and ids not named being irrelevant; or the ids of grade 1.
        k: how many places count.

    Raises:
        ValueError: k is below 1, an id comes twice, or no id has a grade above 0.
    """
    _top(retrieved, k)
    grades = dict(gold) if isinstance(gold, Mapping) else dict.fromkeys(gold, 1.0)
    gains = {key: grade for key, grade in grades.items() if grade > 0}
    _some(gains)
    ideal = sorted(gains.values(), reverse=True)
    return _discounted([gains.get(key, 0.0) for key in retrieved[:k]]) / _discounted(ideal[:k])


def _discounted(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def _top(retrieved: Sequence[str], k: int) -> set[str]:
    if k < 1:
        raise ValueError(f"k is {k}; a ranking is cut after 1 place at least.")
    if len(set(retrieved)) < len(retrieved):
        raise ValueError(
            "An id is retrieved twice, and a document found twice is not two. Passages have ids of their own; for "
            "documents keep the best place of each: list(dict.fromkeys(ids))."
        )
    return set(retrieved[:k])


def _some(gold: Collection[str]) -> set[str]:
    if not gold:
        raise ValueError("There is no gold id, so there is nothing to find: leave unanswerable questions out.")
    return set(gold)


def abstention(
    abstained: Sequence[bool], answerable: Sequence[bool], groups: Sequence[Hashable] | None = None
) -> dict[str, Estimate]:
    """How well a system knows when not to answer, with intervals.

    Args:
        abstained: whether it declined, shape (n,); see ``abstains``.
        answerable: whether the documents hold an answer, shape (n,).
        groups: the questions' families, for the intervals.

    Returns:
        ``precision``: share of its abstentions where there was no answer; ``recall``: share of the questions without
        an answer where it abstained; ``needless``: share of the questions with an answer where it abstained. One
        whose denominator is 0 is left out.

    Raises:
        ValueError: the lists are not of one length.
    """
    families = list(range(len(abstained))) if groups is None else list(groups)
    rows = list(zip(abstained, answerable, families, strict=True))
    parts = {
        "precision": [(not can, family) for quiet, can, family in rows if quiet],
        "recall": [(quiet, family) for quiet, can, family in rows if not can],
        "needless": [(quiet, family) for quiet, can, family in rows if can],
    }
    return {
        name: bootstrap([value for value, _ in part], [family for _, family in part])
        for name, part in parts.items()
        if part
    }


@dataclass(frozen=True)
class AnswerLogprob:
    """Natural-log probability of an answer, summed over its ``tokens`` tokens."""

    total: float
    tokens: int

    @property
    def per_token(self) -> float:
        """The mean over tokens, which does not punish an answer for its length; exp(-per_token) is its perplexity."""
        return self.total / self.tokens


def answer_logprobs(
    llm: ChatTransformers, messages: Sequence[BaseMessage], answers: Sequence[str]
) -> list[AnswerLogprob]:
    """How likely the model finds each answer as its reply to the conversation, whether or not it would write it.

    Raises:
        ValueError: an answer is empty.
        workshop_utils.models.transformers_chat.ContextExceededError: conversation and answer are too long.
    """
    tokens = [llm.count_tokens(answer) for answer in answers]
    if 0 in tokens:
        raise ValueError("An empty answer has no probability.")
    return [AnswerLogprob(*pair) for pair in zip(llm.logprobs(messages, answers), tokens, strict=True)]
