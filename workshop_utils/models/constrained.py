"""Answers whose form is certain: at each step the model may only write what a schema or a grammar admits."""

from __future__ import annotations

from typing import Any

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable

from workshop_utils.errors import InputError
from workshop_utils.models.transformers_chat import ChatTransformers


def can_constrain(llm: BaseChatModel) -> bool:
    """Whether the model's backend can be held to a form: llama.cpp and endpoints can, transformers cannot."""
    return not isinstance(llm, ChatTransformers)


def with_schema(llm: BaseChatModel, schema: dict[str, Any], **options: Any) -> Runnable[LanguageModelInput, AIMessage]:
    """The model, held to JSON of a schema: ``llm.bind(response_format=...)`` in the form that all servers read.

    The form is certain only for an answer that ends: give text a ``maxLength`` and lists ``maxItems``, and
    ``max_tokens`` enough for both. An endpoint may refuse keywords that it does not know.

    Args:
        schema: JSON Schema of the answer; ``$ref`` to other documents is not followed.
        options: what else ``bind`` fixes, such as ``max_tokens``.

    Raises:
        workshop_utils.errors.InputError: the backend is transformers, which would ignore the schema.
    """
    if not can_constrain(llm):
        raise InputError(
            "The transformers backend cannot hold a model to a schema. Install xllamacpp and use the llama.cpp "
            "backend, or let the model write text and make the JSON of it in code."
        )
    form = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
    return llm.bind(response_format=form, **options)
