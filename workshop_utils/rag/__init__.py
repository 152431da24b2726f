"""Retrieval-augmented generation: passages into a prompt, an answer with its sources out."""

from workshop_utils.rag.answer import RagAnswer, Source
from workshop_utils.rag.pipeline import Rag, load_rag
from workshop_utils.rag.prompt import Prompt, pack

__all__ = ["Prompt", "Rag", "RagAnswer", "Source", "load_rag", "pack"]
