"""Small stand-ins for the models, made on the spot: what they answer means nothing, but it is always the same."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from langchain_core.embeddings import Embeddings

CONTEXT = 512


def save_llama(folder: Path, *, layers: int = 2, width: int = 64, seed: int = 0) -> Path:
    """A random Llama in Hugging Face form with the tokenizer and chat template of the workshop's model."""
    import torch
    import transformers

    from workshop_utils.models import store

    tokenizer = transformers.AutoTokenizer.from_pretrained(store.llm_dir())
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        initializer_range=0.2,  # enough for answers that depend on the whole prompt
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_lora(folder: Path, base: Path, *, seed: int = 1, targets: Sequence[str] = ("q_proj", "v_proj")) -> Path:
    """A LoRA adapter of rank 4 for the model in ``base``, with a random B, so that it does something."""
    import peft
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    torch.manual_seed(seed)
    tuned = peft.get_peft_model(
        model, peft.LoraConfig(r=4, lora_alpha=8, target_modules=list(targets), task_type="CAUSAL_LM")
    )
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    tuned.save_pretrained(str(folder))
    return folder


class HashEmbedder(Embeddings):
    """A unit vector drawn from the hash of the text; counts the passages that it was given."""

    def __init__(self, width: int = 16, salt: str = "") -> None:
        self.width, self.salt = width, salt
        self.embedded: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.embedded += texts
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        digest = hashlib.sha256((self.salt + text).encode()).digest()
        vector = np.random.default_rng(int.from_bytes(digest[:8], "big")).normal(size=self.width)
        return [float(value) for value in vector / np.linalg.norm(vector)]
