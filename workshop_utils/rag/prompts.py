"""The prompts of the workshop. Which reads best is measured by ``workshop bench prompts``."""

from __future__ import annotations

from dataclasses import replace

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

# how many passages the untouched model is given, and the most words and marks that each may have
READING_K = 1
PASSAGE_TOKENS = 60

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
