"""The embedding model, as LangChain sees it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from workshop_utils.models import device, store

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from workshop_utils.models.sentence_embedder import SentenceEmbedder


def load_embedder(setting: str | None = None) -> SentenceEmbedder:
    """A sentence embedder: text in, unit vectors out (384 numbers with the default model).

    Args:
        setting: a Hugging Face name or a local folder; ``WORKSHOP_EMBEDDER`` or all-MiniLM-L6-v2 when None.

    Raises:
        workshop_utils.models.store.ModelStoreError: the default model cannot be had.
    """
    import transformers

    from workshop_utils.models.sentence_embedder import SentenceEmbedder

    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    chosen = setting or os.environ.get("WORKSHOP_EMBEDDER")
    # the model's own Transformer module reads 256 tokens at most and cuts the rest without a word
    return SentenceEmbedder(
        model=chosen or str(store.embedder_dir()),
        model_kwargs={
            "device": device.choose().name,
            "local_files_only": chosen is None,
            "trust_remote_code": False,
        },
        encode_kwargs={"normalize_embeddings": True},
        show_progress=False,
    )


def fingerprint(embedder: Embeddings) -> str:
    """A short text that changes when the embedder does: its name and the vector of a fixed sentence, rounded."""
    vector = embedder.embed_query("The same words must give the same vector.")
    coarse = ",".join(f"{value:.2f}" for value in vector[:8])
    return f"{len(vector)}:{coarse}"
