"""The prompts of the workshop."""

from __future__ import annotations

from workshop_utils.rag.prompt import Prompt

READING_PROMPT = Prompt(
    system="You answer questions of Clairval's staff and customers. Answer from the passages, in one short sentence."
)
