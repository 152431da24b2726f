"""The prompts of the workshop. Which reads best is measured by ``workshop bench prompts``."""

from __future__ import annotations

from dataclasses import replace

from langchain_core.language_models import BaseChatModel

from workshop_utils.corpus.questions import NO_ANSWER
from workshop_utils.models.adapters import READER
from workshop_utils.models.llm import is_workshop_model
from workshop_utils.rag.prompt import Example, Prompt

# about no company in particular, so that nothing of Clairval reaches the model but through retrieval
EXAMPLES = (
    Example(
        (
            "Business travel > Rail\nTrips of under 4 hours are made by rail. First class is allowed only for trips "
            "that start before 06:30.",
        ),
        "When may I travel first class?",
        "First class is allowed only for trips that start before 06:30.",
    ),
    Example(
        (
            "Spare parts > Delivery\n| Part | Delivery |\n|---|---|\n| Pole clamp | 6 working days |\n"
            "| Door hinge | 9 working days |",
        ),
        "How long do I wait for a new hinge for the door?",
        "The door hinge is delivered in 9 working days.",
    ),
    Example(
        (
            "Library > Rooms\nThe reading room is booked through the library desk, ext. 3318. Groups of more than 11 "
            "need the consent of the librarian.",
        ),
        "who do i call to reserve the reading room",
        "The reading room is booked through the library desk, ext. 3318.",
    ),
)

# the most words and marks of a passage
PASSAGE_TOKENS = 60
# how many passages the untouched model is given, and how many the reader
READING_K = 1
READER_K = 3

CLOSED_BOOK_PROMPT = Prompt(instruction="Answer in one short sentence.")
READING_PROMPT = Prompt(
    system="You answer questions from the given text.",
    instruction="Copy the sentence of the text that answers the question.",
    examples=EXAMPLES[:1],
)


def _with_distractor(number: int, cite: bool) -> Example:
    """An example with a second passage that does not answer; the right one stands second and first in turn."""
    right, other = EXAMPLES[number], EXAMPLES[(number + 1) % len(EXAMPLES)]
    label = 2 - number % 2
    passages = (*right.passages, *other.passages) if label == 1 else (*other.passages, *right.passages)
    return Example(passages, right.question, f"{right.answer} [{label}]" if cite else right.answer)


SEVERAL_PASSAGES_PROMPT = replace(READING_PROMPT, examples=(_with_distractor(0, cite=False),))
CITING_PROMPT = Prompt(
    system=READING_PROMPT.system,
    instruction="Copy the sentence of the text that answers the question, then the number of its passage in brackets.",
    examples=(_with_distractor(0, cite=True), _with_distractor(1, cite=True)),
    numbered=True,
)
READER_PROMPT = Prompt(
    system="You answer questions from the numbered passages.",
    instruction="Write the number of the passage that answers in brackets, "
    "then the answer in a few words copied from it.",
    numbered=True,
)
# a model that follows instructions needs no training for this
INSTRUCTED_PROMPT = replace(
    READER_PROMPT, instruction=f"{READER_PROMPT.instruction} If no passage answers, write only: {NO_ANSWER}."
)


def way_of_asking(llm: BaseChatModel) -> tuple[Prompt, int]:
    """The prompt that suits a model, and how many passages it should be given."""
    if getattr(llm, "adapter", None) == READER:
        return READER_PROMPT, READER_K
    return (READING_PROMPT, READING_K) if is_workshop_model(llm) else (INSTRUCTED_PROMPT, READER_K)
