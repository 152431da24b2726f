"""What a search found, against the evidence of the questions."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from workshop_utils.corpus import Question, load_questions
from workshop_utils.corpus.questions import Split
from workshop_utils.evaluation.metrics import hit, ndcg_at_k, reciprocal_rank

HITS = (1, 3, 5)


def answerable_questions(split: Split = "dev") -> list[Question]:
    """The questions that everybody may ask and that the documents of the first day answer."""
    return [q for q in load_questions(split, kinds=["single", "multi", "changed"]) if q.answerable]


def score_rankings(rankings: Sequence[Sequence[str]], golds: Sequence[Collection[str]]) -> dict[str, list[float]]:
    """The scores of each question: hit@1, hit@3, hit@5, the reciprocal rank (as 'MRR', its mean) and nDCG@5.

    Args:
        rankings: passage ids, best first, of each question.
        golds: ids of the passages that answer it. Where there is none, because a split cut the evidence in two,
            everything is 0: that is a fault of the system and not of the question.

    Raises:
        ValueError: not as many rankings as golds, or an id stands twice in a ranking.
    """
    pairs = list(zip(rankings, golds, strict=True))
    scores = {f"hit@{k}": [float(hit(ranking[:k], list(gold))) for ranking, gold in pairs] for k in HITS}
    scores["MRR"] = [reciprocal_rank([key in gold for key in ranking]) for ranking, gold in pairs]
    scores["nDCG@5"] = [ndcg_at_k(ranking, gold, 5) if gold else 0.0 for ranking, gold in pairs]
    return scores
