"""New editions of documents, in which a program has changed figures: facts that no training can have seen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from langchain_core.documents import Document

from workshop_utils.corpus import Question
from workshop_utils.evaluation.metrics import contains_answer

# a quantity: '3 percent', '2.6 ml/h', '7 pumps'; part numbers, times and extensions are left as they are
QUANTITY = re.compile(r"(\d+(?:\.\d+)?) (?=[a-z%])")


def new_editions(documents: Sequence[Document], questions: Sequence[Question]) -> tuple[list[Document], list[Question]]:
    """The documents with the quantities changed that the questions ask for, and the questions with the new answers.

    A fact is left out when its old answer would still stand in the document, or when its sentence is not there as the
    question has it. Of the wordings of one question the first is kept.

    Args:
        documents: in full; those that no question is on stay as they are.
        questions: each with one piece of evidence, whose span holds the answer word for word.
    """
    texts = {str(document.id): document.page_content for document in documents}
    changed: dict[str, Question] = {}
    for question in questions:
        (evidence,) = question.evidence
        text = texts.get(evidence.source, "")
        found = QUANTITY.match(question.answer)
        if found is None or question.fact in changed or text.count(evidence.span) != 1:
            continue
        number = _other(found[1], text)
        answer = number + question.answer.removeprefix(found[1])
        span = evidence.span.replace(question.answer, answer)
        text = text.replace(evidence.span, span)
        if contains_answer(text, question.accepted):
            continue
        texts[evidence.source] = text
        old = _alone(found[1])
        accept = tuple(old.sub(number, wording) for wording in question.accept if old.search(wording))
        changed[question.fact] = replace(
            question, answer=answer, accept=accept, evidence=(replace(evidence, span=span),)
        )
    editions = [document.model_copy(update={"page_content": texts[str(document.id)]}) for document in documents]
    return editions, list(changed.values())


def _other(number: str, text: str) -> str:
    """The next larger number of as many decimals, by a third at least, that does not stand in the text."""
    decimals = len(number.partition(".")[2])
    step = 10**-decimals
    value = float(number) * 4 / 3 + step
    while _alone(f"{value:.{decimals}f}").search(text):
        value += step
    return f"{value:.{decimals}f}"


def _alone(number: str) -> re.Pattern[str]:
    """The number where it is not a part of another one."""
    return re.compile(rf"(?<!\d)(?<!\d\.){re.escape(number)}(?!\d|\.\d)")
