"""The comparison on anybody's own documents and questions: ``workshop compare --documents DIR --questions FILE``.

The adapters of the tuned arms are trained on a part of the questions, with the settings that the company's documents
were given, and kept in the cache; the other part is asked. Documents that not everybody may read take no part: what is
in the weights can be got out of them by whoever may ask the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from rich.console import Console

from workshop_utils.corpus import Question, split_documents
from workshop_utils.evaluation.compare import asking
from workshop_utils.evaluation.compare.arms import ARMS, QUESTIONS_WRITTEN, Arm
from workshop_utils.evaluation.compare.material import Material
from workshop_utils.evaluation.compare.own_material import Own, as_asked, judged, placed, read_own, split
from workshop_utils.evaluation.compare.run import compare
from workshop_utils.evaluation.studies.runs import kept_run
from workshop_utils.models import load_embedder, load_tokenizer
from workshop_utils.models.adapters import READER
from workshop_utils.rag.prompts import PASSAGE_TOKENS
from workshop_utils.tuning import closed_book, raft
from workshop_utils.tuning.settings import Settings
from workshop_utils.tuning.supervised import Row, encode_examples, encode_texts

# questions below which nothing is trained, and tokens of text above which the text is not
LEAST_TRAINING = 20
MOST_TEXT_TOKENS = 200_000


@dataclass(frozen=True)
class Training:
    """What an adapter is trained on, and how; ``missing`` says why it is not trained."""

    rows: list[Row]
    settings: Settings
    missing: str | None
    start_from: Path | None = None


def compare_own(documents: Path, questions: Path, console: Console, *, quick: bool = False) -> dict[str, Any]:
    """Ask the arms that can be made of somebody's own material the questions that were kept from training.

    Args:
        documents: a folder, as ``load_own_documents`` reads it.
        questions: a file, as ``read_own_questions`` reads it.
        quick: ask no more questions than the company's comparison does when it is quick.

    Returns:
        As ``run.compare``, and under ``own``: ``train`` and ``test`` with ``questions`` and ``families``, ``left_out``
        by title of the arm why it is not there, ``findings`` on files and lines, and what so many questions can tell
        (``own_material.judged``).

    Raises:
        CorpusError: no document or no question could be read.
        InputError: none of the questions has an answer.
        workshop_utils.tuning.run.TrainingError: and all else that training and ``run.compare`` raise.
    """
    tokenizer = load_tokenizer()

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False))

    own = read_own(documents, questions, count)
    _tell(console, f"{len(own.documents)} documents and {len(own.questions)} questions", own.findings)
    found = asking.search(own.questions, own.documents, load_embedder())
    rows = {question.id: question for question in placed(own.questions, own.documents, found)}
    parts = split(list(rows.values()))
    asked = {question.id for question in parts.test}
    test = tuple(as_asked(question, rows[question.id]) for question in own.questions if question.id in asked)
    material = Material("own", test, own.documents, parts.train)
    told = judged(material.sample().questions if quick else test)
    console.print(told["says"], markup=False, soft_wrap=True)
    arms, left_out = _arms(own, parts.train, found, tokenizer, console)
    _tell(console, f"{len(arms)} arms", [f"{title} is left out: {why}" for title, why in left_out.items()])
    result = compare(material, console, arms=arms, quick=quick)
    return result | {
        "own": {
            "train": _size(parts.train),
            "test": _size(test),
            "left_out": left_out,
            "findings": list(own.findings),
            **told,
        }
    }


def _arms(
    own: Own, train: Sequence[Question], found: asking.Found, tokenizer: Any, console: Console
) -> tuple[dict[str, Arm], dict[str, str]]:
    """The arms that make sense, with their adapters trained; and by title why another does not."""
    trainings = {
        "task": _task(train, tokenizer),
        "knowledge": _knowledge(train, own.documents, tokenizer),
        "raft": _raft(train, own.documents, found, tokenizer),
    }
    arms: dict[str, Arm] = {}
    left_out: dict[str, str] = {}
    for key, arm in ARMS.items():
        training = trainings.get(arm.training or "")
        if training is None:
            if arm.shots and not arm.prompt.examples and not train:
                left_out[arm.title] = "there are no training questions to take examples from"
            else:
                arms[key] = arm
        elif training.missing:
            left_out[arm.title] = training.missing
        else:
            console.print(f"{arm.title}: trained on {len(training.rows)} examples", markup=False)
            folder, _ = kept_run(training.rows, training.settings, start_from=training.start_from)
            arms[key] = replace(arm, adapter=folder, starts_from=training.start_from)
    if "lora_knowledge" in arms:
        arm = arms["lora_knowledge"]
        steps = tuple(step for step in arm.steps if step not in QUESTIONS_WRITTEN)
        saw = "the text of all documents, and the training questions; none was written for it on the other documents"
        arms["lora_knowledge"] = replace(arm, saw=saw, steps=steps)
    return arms, left_out


def _task(train: Sequence[Question], tokenizer: Any) -> Training:
    rows = encode_examples(tokenizer, closed_book.question_examples(train))
    return Training(rows, closed_book.TASK_SETTINGS, _too_few(len(train), "training questions"))


def _knowledge(train: Sequence[Question], documents: Sequence[Document], tokenizer: Any) -> Training:
    """The text in pieces and the training questions: nobody has written questions on the other documents."""
    pieces = [piece.page_content for piece in split_documents(documents, closed_book.TEXT_TOKENS)]
    texts = encode_texts(tokenizer, pieces)
    tokens = sum(len(row["input_ids"]) for row in texts)
    missing = _too_few(len(train), "training questions")
    if tokens > MOST_TEXT_TOKENS:
        missing = f"the documents have {tokens:,} tokens, and no more than {MOST_TEXT_TOKENS:,} are trained on"
    rows = [*texts, *encode_examples(tokenizer, closed_book.question_examples(train))]
    return Training(rows, closed_book.KNOWLEDGE_SETTINGS, missing)


def _raft(train: Sequence[Question], documents: Sequence[Document], found: asking.Found, tokenizer: Any) -> Training:
    """The questions with the passages that the search finds, where it is known which of them answers."""
    known = [question for question in train if question.evidence or not question.answerable]
    passages = split_documents(documents, PASSAGE_TOKENS)
    examples = raft.raft_examples(known, [found[question.id] for question in known], passages, seed=raft.SETTINGS.seed)
    missing = _too_few(sum(question.answerable for question in known), "training questions with a passage that answers")
    return Training(encode_examples(tokenizer, examples), raft.SETTINGS, missing, start_from=READER)


def _too_few(number: int, what: str) -> str | None:
    return f"{number} {what}, and training takes {LEAST_TRAINING}" if number < LEAST_TRAINING else None


def _size(questions: Sequence[Question]) -> dict[str, int]:
    return {"questions": len(questions), "families": len({question.family for question in questions})}


def _tell(console: Console, title: str, lines: Sequence[str]) -> None:
    console.print("\n".join([title, *(f"  {line}" for line in lines)]), markup=False, soft_wrap=True)
