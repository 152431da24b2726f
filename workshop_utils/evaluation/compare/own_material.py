"""Anybody's own documents and questions made ready to compare on: read, told what is wrong with them, and split."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from statistics import NormalDist

from langchain_core.documents import Document

from workshop_utils.corpus import Question, split_documents
from workshop_utils.corpus.documents import EVERYONE, CorpusError
from workshop_utils.corpus.families import document_families
from workshop_utils.corpus.own import load_own_documents, read_own_questions
from workshop_utils.corpus.questions import Evidence, golden_passages
from workshop_utils.corpus.splitting import SENTENCE_END, TokenCounter
from workshop_utils.errors import InputError
from workshop_utils.evaluation.compare.arms import MAX_TOKENS
from workshop_utils.evaluation.metrics import contains_answer, normalise
from workshop_utils.rag.prompts import PASSAGE_TOKENS

SEED = 0
TRAIN_SHARE = 0.6
# asked questions with an answer, and their families, below which no figure is worth a conclusion
LEAST_QUESTIONS, LEAST_FAMILIES = 20, 8
# the share of questions on which two arms are taken to differ: one right, the other wrong
DISAGREEMENT = 0.4
# a difference is found in this share of measurements, by a test at this level
POWER, LEVEL = 0.8, 0.05

# tokens of the model: of a question or a choice, of a sentence before it is cut, of a passage whatever it is made of
MOST_QUESTION, MOST_SENTENCE, MOST_PASSAGE = 400, 400, 1200
# and of an answer, which shares the room of an arm's reply with its citation
MOST_ANSWER = MAX_TOKENS - 5
# passages found among which one with the answer tells where a question without sources belongs
LOOKED_AT = 10


@dataclass(frozen=True)
class Own:
    """What can be compared on, and what there is to know about the rest, in words.

    Attributes:
        documents: those that everybody may read.
        questions: those that everybody may ask; at least one has an answer.
        findings: about files and lines, in words.
    """

    documents: tuple[Document, ...]
    questions: tuple[Question, ...]
    findings: tuple[str, ...]


@dataclass(frozen=True)
class Parts:
    """Questions to train on, and questions to ask, of other families."""

    train: tuple[Question, ...]
    test: tuple[Question, ...]


def read_own(folder: Path, questions: Path, count: TokenCounter) -> Own:
    """Documents and questions, as far as they can be used.

    Args:
        count: the model's tokens in a text.

    Raises:
        CorpusError: no document or no question could be read; the message says why of each.
        InputError: none of the questions has an answer in a document that everybody may read.
    """
    read = load_own_documents(folder)
    asked = read_own_questions(questions, read.documents)
    findings = [str(finding) for finding in (*read.findings, *asked.findings)]
    documents, of_documents = _usable(read.documents, count)
    known = {str(document.id) for document in documents}
    kept = []
    for question in asked.questions:
        fault, question = _checked(question, known, count)
        if fault:
            findings.append(f"question {question.id}: {fault} (left out)")
        else:
            kept.append(question)
    if not documents:
        raise CorpusError("\n".join([f"In {folder} there is nothing to compare on.", *of_documents]))
    if not any(question.answerable for question in kept):
        raise InputError(
            "\n".join(
                [
                    f"None of the {len(kept)} questions that can be asked has an answer in the documents. Add some "
                    'that have: {"question": "...", "answer": "...", "sources": ["a file of the folder"]}',
                    *of_documents,
                    *findings,
                ]
            )
        )
    return Own(tuple(documents), tuple(kept), (*findings, *of_documents))


def _checked(question: Question, known: Collection[str], count: TokenCounter) -> tuple[str, Question]:
    """What keeps a question from being asked, or nothing; and the question with a wording as answer that fits."""
    if gone := [source for source in question.sources if source not in known]:
        return f"its source {gone[0]} takes no part", question
    longest = max(count(text) for text in (question.question, *question.choices))
    if longest > MOST_QUESTION:
        return f"it or a choice of it has {longest:,} tokens, and {MOST_QUESTION} is the most", question
    fitting = [wording for wording in question.accepted if count(wording) <= MOST_ANSWER]
    if not fitting:
        shortest = min(count(wording) for wording in question.accepted)
        return f"its answer has {shortest:,} tokens; give one of at most {MOST_ANSWER}, in accept if need be", question
    accept = tuple(wording for wording in question.accepted if wording != fitting[0])
    return "", replace(question, answer=fitting[0], accept=accept)


def _usable(documents: Iterable[Document], count: TokenCounter) -> tuple[list[Document], list[str]]:
    """The documents that everybody may read and whose passages the model can read, and findings on the others."""
    kept, findings = [], []
    for document in documents:
        if EVERYONE not in document.metadata["acl"]:
            groups = ", ".join(document.metadata["acl"])
            findings.append(f"{document.id}: it is for {groups} only, and the arms are asked as everybody (left out)")
            continue
        text = cut_long_sentences(document.page_content, count)
        if text != document.page_content:
            findings.append(f"{document.id}: sentences of more than {MOST_SENTENCE} tokens were cut")
            document = document.model_copy(update={"page_content": text})
        longest = max((count(p.page_content) for p in split_documents([document], PASSAGE_TOKENS)), default=0)
        if longest == 0:
            findings.append(f"{document.id}: it has nothing but headings (left out)")
        elif longest > MOST_PASSAGE:
            findings.append(
                f"{document.id}: a passage, its headings or a table's head counted, has {longest:,} tokens; shorten it "
                f"to {MOST_PASSAGE:,} (left out)"
            )
        else:
            kept.append(document)
    return kept, findings


def cut_long_sentences(text: str, count: TokenCounter) -> str:
    """The text with sentences of more than ``MOST_SENTENCE`` tokens cut into paragraphs, since no passage cuts one.

    Such are lists without marks, tables read from a PDF, and languages written without spaces and full stops.
    """
    lines = []
    for line in text.split("\n"):
        sentences = SENTENCE_END.split(line)
        if all(count(sentence) <= MOST_SENTENCE for sentence in sentences):
            lines.append(line)
        else:
            lines += ["", "\n\n".join(part for sentence in sentences for part in _halves(sentence, count)), ""]
    return "\n".join(lines)


def _halves(text: str, count: TokenCounter) -> list[str]:
    if count(text) <= MOST_SENTENCE:
        return [text]
    middle = len(text) // 2
    place = text.find(" ", middle)
    if not 0 < place < len(text) - 1:
        place = middle
    return [part for half in (text[:place], text[place:]) for part in _halves(half.strip(), count) if part]


def placed(
    questions: Sequence[Question], documents: Sequence[Document], found: Mapping[str, Sequence[Document]]
) -> list[Question]:
    """The questions with a passage as evidence where none is named, and with families by all their documents.

    Where a source is named and the answer stands in it in other words, the passage that shares most words with question
    and answer is taken; where none is named, the first one found that has the answer in it. That is good enough to
    train on and to keep related questions together, and not to mark citations by.

    Args:
        found: passages by question id, best first.
    """
    passages = split_documents(documents, PASSAGE_TOKENS)
    by_source: dict[str, list[Document]] = {}
    for passage in passages:
        by_source.setdefault(passage.metadata["source"], []).append(passage)
    rows = []
    for question in questions:
        own = [passage for source in question.sources for passage in by_source[source]]
        if not question.answerable or golden_passages(question, own):
            rows.append(question)
            continue
        if own:
            words = set(normalise(f"{question.question} {question.answer}").split())
            best = max(own, key=lambda passage: len(words & set(normalise(passage.page_content).split())))
        else:
            near = found[question.id][:LOOKED_AT]
            answering = [passage for passage in near if contains_answer(passage.page_content, question.accepted)]
            if not answering:
                rows.append(question)
                continue
            best = answering[0]
        source = str(best.metadata["source"])
        evidence = (Evidence(source, best.page_content),)
        rows.append(replace(question, sources=question.sources or (source,), evidence=evidence))
    links = [(row.family, *(f"~stands in {source}" for source in row.sources)) for row in rows]
    marked = [Document(id=row.family, page_content="", metadata={"family": row.family}) for row in rows]
    families = document_families(marked, links)
    return [replace(row, family=families[row.family]) for row in rows]


def as_asked(question: Question, placed: Question) -> Question:
    """A question with the family that it was placed in, and without evidence that no passage holds whole.

    Its sources are left as they were named, so that a citation is marked by what somebody has said is right.
    """
    kept = question.evidence if placed.evidence == question.evidence else ()
    return replace(question, family=placed.family, evidence=kept)


def split(questions: Sequence[Question], seed: int = SEED) -> Parts:
    """Whole families to train on and to ask, about ``TRAIN_SHARE`` of the questions with and of those without answer.

    The largest families are placed first, each where most is missing. A single family with answers is all asked.
    """
    families: dict[str, list[Question]] = {}
    for question in questions:
        families.setdefault(question.family, []).append(question)
    shuffled = random.Random(seed).sample(list(families.values()), len(families))
    train: set[str] = set()
    for answerable in (True, False):
        group = [family for family in shuffled if any(q.answerable for q in family) == answerable]
        total, here, there = sum(map(len, group)), 0, 0
        for family in sorted(group, key=len, reverse=True) if len(group) > 1 else []:
            if TRAIN_SHARE * total - here >= (1 - TRAIN_SHARE) * total - there:
                train.add(family[0].family)
                here += len(family)
            else:
                there += len(family)
    return Parts(
        tuple(question for question in questions if question.family in train),
        tuple(question for question in questions if question.family not in train),
    )


def smallest_difference(pairs: int, disagreement: float = DISAGREEMENT) -> float | None:
    """The smallest difference of two shares that so many questions, asked of both arms, would show.

    Solved from the number of pairs that McNemar's test needs (Connor, 1987, Biometrics 43:207-211):
    ``pairs = (a * sqrt(s) + b * sqrt(s - d^2))^2 / d^2`` with ``s`` the share of questions on which the arms differ,
    ``d`` the difference, and ``a`` and ``b`` the normal quantiles of level and power.

    Returns:
        ``d``, found in ``POWER`` of such measurements at ``LEVEL``; None where even arms of which one is never better
        would not be told apart.
    """
    a, b = NormalDist().inv_cdf(1 - LEVEL / 2), NormalDist().inv_cdf(POWER)
    if pairs <= a**2 - b**2:
        return None
    found = sqrt(disagreement) * (a * sqrt(pairs) + b * sqrt(pairs - a**2 + b**2)) / (pairs + b**2)
    return found if found <= disagreement else None


def judged(questions: Sequence[Question]) -> dict[str, object]:
    """What so many questions can tell.

    Returns:
        ``questions`` with an answer and their ``families``; whether they are ``enough`` to conclude anything; the
        ``smallest`` difference that would show if all questions were unrelated, and if those of a family were all right
        or all wrong; ``says``, all that in words.
    """
    answerable = [question for question in questions if question.answerable]
    n, families = len(answerable), len({question.family for question in answerable})
    enough = n >= LEAST_QUESTIONS and families >= LEAST_FAMILIES
    unrelated, alike = smallest_difference(n), smallest_difference(families)
    asked = f"{n} questions with an answer, of {families} families of documents, were asked: "
    if not enough:
        conclusion = "too few to conclude anything. Read the answers, not the figures. "
    elif alike is None:
        conclusion = ""
    else:
        conclusion = "read a difference together with its interval. "
    return {
        "questions": n,
        "families": families,
        "enough": enough,
        "smallest": {"unrelated": unrelated, "alike": alike},
        "says": f"{asked}{conclusion}{_visible(unrelated, alike)}",
    }


def _visible(unrelated: float | None, alike: float | None) -> str:
    if unrelated is None:
        return "No difference between two arms, however large, could be told from chance."
    worst = "cannot be told at all" if alike is None else f"must be {alike * 100:.0f} points"
    return (
        f"Two arms that differ on {DISAGREEMENT:.0%} of the questions must be {unrelated * 100:.0f} percentage points "
        f"apart to be told from chance in {POWER:.0%} of such measurements, if questions on one document have nothing "
        f"to do with each other; if they are all right or all wrong, the difference {worst}."
    )
