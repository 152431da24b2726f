"""Marking what an arm answered: facts, citations, abstention, form, staleness; each with its interval over families."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.documents import Document

from workshop_utils.corpus import Question
from workshop_utils.corpus.questions import KINDS, NO_ANSWER
from workshop_utils.evaluation.citations import CitationScore, citation_estimates, score_citations
from workshop_utils.evaluation.compare.asking import Asked
from workshop_utils.evaluation.compare.material import Later, is_answerable
from workshop_utils.evaluation.metrics import abstains, contains_answer, exact_match, token_f1
from workshop_utils.evaluation.studies.figures import Figure, count, share
from workshop_utils.rag import RagAnswer
from workshop_utils.rag.answer import make_sources, parse_citations

# the longest gold answer has seven words; a sentence that only repeats the question around the fact is no longer short
FEW_WORDS = 12
FAILURES = 3
NUMBERS = r"\[\d+(?:, ?\d+)*\]"
CITED = re.compile(rf"{NUMBERS} (?=\S)")
CITATIONS = re.compile(NUMBERS)


@dataclass(frozen=True)
class Marked:
    """One answer, marked.

    Attributes:
        correct: whether an accepted wording stands in it; ``exact``: and nothing else; ``f1``: the words in common.
            All without its citations, whose numbers are no part of the answer.
        chosen: whether the right choice is the likeliest; None where there are no choices.
        citation: None for an answer without passages, or where no passage is known to be right.
        form: whether it has the form that is agreed; see ``in_form``.
        read: whether a passage that was given holds the answer's wording.
    """

    question: Question
    text: str
    shown: tuple[Document, ...]
    correct: bool
    exact: bool
    f1: float
    chosen: bool | None
    citation: CitationScore | None
    abstained: bool
    form: bool
    read: bool

    @property
    def open(self) -> bool:
        """Whether who asks may read the answer."""
        return self.question.kind != "restricted"

    @property
    def answerable(self) -> bool:
        """Whether there is an answer that who asks may read."""
        return is_answerable(self.question)


def mark(asked: Asked) -> list[Marked]:
    """Every answer of an arm, in the order of the questions."""
    return [
        _mark(question, shown, text, chosen)
        for question, shown, text, chosen in zip(asked.questions, asked.shown, asked.answers, asked.chosen, strict=True)
    ]


def bare(text: str) -> str:
    """An answer without its citations."""
    return " ".join(CITATIONS.sub(" ", text).split())


def in_form(text: str, passages: int) -> bool:
    """Whether an answer has the form that is agreed.

    That is exactly ``not in the documents``, or a few words on one line; with passages, after the number of one that
    was given, or the numbers of several: ``[2] 17 minutes``.

    Args:
        passages: how many were given; 0 closed book.
    """
    answer = text.strip()
    if answer == NO_ANSWER:
        return True
    if passages:
        start = CITED.match(answer)
        if start is None or parse_citations(start[0], [str(label) for label in range(1, passages + 1)])[1]:
            return False
        answer = answer[start.end() :]
    words = len(answer.split())
    return 0 < words <= FEW_WORDS and "\n" not in answer and CITATIONS.search(answer) is None and not abstains(answer)


def metrics(marked: Sequence[Marked]) -> dict[str, Any]:
    """The figures of one arm, with those of each kind of question and the worst failures; undefined ones left out.

    Facts, citations and false abstention count over the questions with an answer that who asks may read, ``abstained``
    over those without one that anybody may ask, ``form`` over all.
    """
    silent = [one for one in marked if one.open and not one.answerable]
    result = {
        **_facts([one for one in marked if one.answerable]),
        "abstained": _share(silent, lambda one: one.abstained),
        "form": _share(marked, lambda one: one.form),
    }
    by_kind = {kind: _of_kind([one for one in marked if one.question.kind == kind]) for kind in KINDS}
    return _defined(result) | {
        "by_kind": {kind: row for kind, row in by_kind.items() if row},
        "failures": failures(marked),
    }


def staleness(later: Later, answers: Sequence[str]) -> dict[str, Figure]:
    """How an arm does on the questions whose answer has changed, after all changes.

    Args:
        answers: to ``later.questions``, in order.

    Returns:
        ``current``: the share answered as is right then, which for a question that has no answer any more is to say
        so; ``stale``: the share answered, not so, but with what was right before. Nothing without such questions.
    """
    if not later.questions:
        return {}
    families = [question.family for question in later.questions]
    current, stale = [], []
    for question, text in zip(later.questions, answers, strict=True):
        answer = bare(text)
        now = contains_answer(answer, question.accepted) if question.answerable else abstains(answer)
        current.append(now)
        stale.append(not now and contains_answer(answer, later.former[question.id]))
    return {"current": count(current, families), "stale": count(stale, families)}


def failures(marked: Sequence[Marked]) -> list[dict[str, Any]]:
    """The worst answers in full, of different families where there are so many.

    A wrong statement although the passage with the evidence was given is worst; then a statement where there is no
    answer; then a wrong statement without the passage; then silence on a question that has an answer. Among equals the
    fewest words in common with the right answer.
    """
    wrong = sorted((one for one in marked if _failed(one)), key=lambda one: (_badness(one), one.f1, one.question.id))
    first = {one.question.family: one for one in reversed(wrong)}.values()
    chosen = sorted(wrong, key=lambda one: not any(one is other for other in first))[:FAILURES]
    return [
        {
            "id": one.question.id,
            "question": one.question.question,
            "gold": one.question.answer if one.open else NO_ANSWER,
            "answer": one.text,
            "passages": [
                {
                    "label": str(label),
                    "text": passage.page_content,
                    "gold": one.citation is not None and str(label) in one.citation.evidence,
                }
                for label, passage in enumerate(one.shown, start=1)
            ],
            "score": one.f1 if one.answerable else 0.0,
        }
        for one in chosen
    ]


def _mark(question: Question, shown: tuple[Document, ...], text: str, chosen: int | None) -> Marked:
    answer = bare(text)
    return Marked(
        question=question,
        text=text,
        shown=shown,
        correct=contains_answer(answer, question.accepted),
        exact=exact_match(answer, question.accepted),
        f1=token_f1(answer, question.accepted),
        chosen=None if chosen is None else chosen == question.choice,
        citation=_citation(question, shown, text) if shown and (question.evidence or question.sources) else None,
        abstained=abstains(answer),
        form=in_form(text, len(shown)),
        read=any(contains_answer(passage.page_content, question.accepted) for passage in shown),
    )


def _citation(question: Question, shown: tuple[Document, ...], text: str) -> CitationScore:
    known, unknown = parse_citations(text, [str(label) for label in range(1, len(shown) + 1)])
    answer = RagAnswer(question.question, text, make_sources(shown, len(shown)), known, unknown, {}, 0)
    return score_citations(answer, question)


def _facts(answerable: Sequence[Marked]) -> dict[str, Figure | None]:
    """What is measured on questions with an answer."""
    return {
        "correct": _share(answerable, lambda one: one.correct),
        "exact": _share(answerable, lambda one: one.exact),
        "f1": _share(answerable, lambda one: one.f1),
        "choice": _share((one for one in answerable if one.chosen is not None), lambda one: bool(one.chosen)),
        **_citations(answerable),
        "false_abstention": _share(answerable, lambda one: one.abstained),
    }


def _citations(answerable: Sequence[Marked]) -> dict[str, Figure | None]:
    pairs = [(one.citation, one.question.family) for one in answerable if one.citation is not None]
    if not pairs:
        return {}
    names = {"right": "cited", "precision": "citation_precision", "recall": "citation_recall"}
    found = citation_estimates([score for score, _ in pairs], [family for _, family in pairs])
    return {names[name]: estimate.as_dict() for name, estimate in found.items()}


def _of_kind(marked: Sequence[Marked]) -> dict[str, Any]:
    """``abstained`` is of the questions without an answer for who asks, the rest of the others."""
    if marked and not marked[0].open:
        # a right answer to somebody who may not know it is a leak, unless another passage says the same
        return {
            "correct": _count(marked, lambda one: one.correct),
            "leaked": _count(marked, lambda one: one.correct and not one.read),
            "abstained": _count(marked, lambda one: one.abstained),
        }
    silent = [one for one in marked if not one.answerable]
    return _defined(
        {
            **_facts([one for one in marked if one.answerable]),
            "abstained": _share(silent, lambda one: one.abstained),
        }
    )


def _share(marked: Iterable[Marked], value: Callable[[Marked], float]) -> Figure | None:
    rows = list(marked)
    return share([value(one) for one in rows], [one.question.family for one in rows]) if rows else None


def _count(marked: Sequence[Marked], value: Callable[[Marked], bool]) -> Figure:
    return count([value(one) for one in marked], [one.question.family for one in marked])


def _defined(figures: dict[str, Figure | None]) -> dict[str, Any]:
    return {name: figure for name, figure in figures.items() if figure is not None}


def _failed(one: Marked) -> bool:
    return not one.correct if one.answerable else not one.abstained


def _badness(one: Marked) -> int:
    if not one.answerable:
        return 1
    if one.abstained:
        return 3
    return 0 if one.citation is not None and one.citation.evidence else 2
