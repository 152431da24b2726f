"""Citations: does the passage that an answer names hold the evidence, and is the evidence named?"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from workshop_utils.corpus import Question
from workshop_utils.evaluation.intervals import Estimate, bootstrap
from workshop_utils.rag import RagAnswer


@dataclass(frozen=True)
class CitationScore:
    """The citations of one answer against the evidence of its question.

    Attributes:
        cited: labels that the answer names, those of no passage among them (as it wrote them).
        evidence: labels of the passages that the model was given and that hold evidence.
    """

    cited: frozenset[str]
    evidence: frozenset[str]

    @property
    def precision(self) -> float | None:
        """Share of what is cited that holds evidence; None when nothing is cited."""
        return len(self.cited & self.evidence) / len(self.cited) if self.cited else None

    @property
    def recall(self) -> float | None:
        """Share of the evidence given that is cited; None when none was given: retrieval failed, not the answer."""
        return len(self.cited & self.evidence) / len(self.evidence) if self.evidence else None

    @property
    def right(self) -> bool:
        """Whether something is cited and all of it holds evidence: the workshop's 'right citation'."""
        return bool(self.cited) and self.cited <= self.evidence


def score_citations(answer: RagAnswer, question: Question) -> CitationScore:
    """Which passages the answer cites, and which of those given to the model hold the question's evidence.

    A passage holds evidence when it is from the evidence's document and has its span word for word. For a question
    that names its sources but no spans, every passage of a source counts.
    """
    given = [source for source in answer.sources if source.read]
    if question.evidence:
        evidence = {
            source.label
            for source in given
            if any(source.document == part.source and part.span in source.text for part in question.evidence)
        }
    else:
        evidence = {source.label for source in given if source.document in question.sources}
    return CitationScore(frozenset((*answer.citations, *answer.unknown_citations)), frozenset(evidence))


def citation_estimates(
    scores: Sequence[CitationScore], groups: Sequence[Hashable] | None = None
) -> dict[str, Estimate]:
    """Means over answers, with intervals.

    Args:
        scores: one an answer, shape (n,).
        groups: the questions' families, for the intervals.

    Returns:
        ``right`` over all answers, ``precision`` over those that cite, ``recall`` over those that were given evidence;
        one over no answer at all is left out.

    Raises:
        ValueError: as many groups as scores are not given.
    """
    families = list(range(len(scores))) if groups is None else list(groups)
    rows = list(zip(scores, families, strict=True))
    parts: dict[str, list[tuple[float, Hashable]]] = {
        "right": [(float(score.right), family) for score, family in rows],
        "precision": [(score.precision, family) for score, family in rows if score.precision is not None],
        "recall": [(score.recall, family) for score, family in rows if score.recall is not None],
    }
    return {
        name: bootstrap([value for value, _ in part], [family for _, family in part])
        for name, part in parts.items()
        if part
    }
