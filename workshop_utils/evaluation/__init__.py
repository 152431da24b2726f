"""Is the answer right, and how sure are we of the figure?"""

from workshop_utils.evaluation.answering import answer_all
from workshop_utils.evaluation.intervals import Estimate, bootstrap, paired_difference
from workshop_utils.evaluation.metrics import (
    abstains,
    contains_answer,
    exact_match,
    hit,
    normalise,
    reciprocal_rank,
    token_f1,
)

__all__ = [
    "Estimate",
    "abstains",
    "answer_all",
    "bootstrap",
    "contains_answer",
    "exact_match",
    "hit",
    "normalise",
    "paired_difference",
    "reciprocal_rank",
    "token_f1",
]
