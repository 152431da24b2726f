"""Is the answer right, and how sure are we of the figure?"""

from workshop_utils.corpus.questions import golden_passages
from workshop_utils.evaluation.answering import answer_all
from workshop_utils.evaluation.citations import CitationScore, citation_estimates, score_citations
from workshop_utils.evaluation.intervals import Estimate, bootstrap, holm, paired_difference, sign_flip_test
from workshop_utils.evaluation.metrics import (
    AnswerLogprob,
    abstains,
    abstention,
    answer_logprobs,
    average_precision,
    contains_answer,
    exact_match,
    hit,
    ndcg_at_k,
    normalise,
    precision_at_k,
    recall_at_k,
    reciprocal_rank,
    token_f1,
)
from workshop_utils.evaluation.rankings import answerable_questions, score_rankings
from workshop_utils.evaluation.selective import Operating, abstention_probability, auroc, risk_coverage
from workshop_utils.retrieval.rankings import dense_rankings

__all__ = [
    "AnswerLogprob",
    "CitationScore",
    "Estimate",
    "Operating",
    "abstains",
    "abstention",
    "abstention_probability",
    "answer_all",
    "answer_logprobs",
    "answerable_questions",
    "auroc",
    "average_precision",
    "bootstrap",
    "citation_estimates",
    "contains_answer",
    "dense_rankings",
    "exact_match",
    "golden_passages",
    "hit",
    "holm",
    "ndcg_at_k",
    "normalise",
    "paired_difference",
    "precision_at_k",
    "recall_at_k",
    "reciprocal_rank",
    "risk_coverage",
    "score_citations",
    "score_rankings",
    "sign_flip_test",
    "token_f1",
]
