"""The models: which weights, how they are loaded, where they compute."""

from workshop_utils.models.embedder import load_embedder
from workshop_utils.models.llm import load_llm, load_tokenizer

__all__ = ["load_embedder", "load_llm", "load_tokenizer"]
