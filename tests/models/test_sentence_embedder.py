"""The fast embedder says what the plain one says."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from workshop_utils.models import load_embedder
from workshop_utils.models import sentence_embedder as module
from workshop_utils.models.sentence_embedder import SentenceEmbedder

TEXTS = [
    *("The pump runs on its battery. " * n for n in (5, 1, 40, 2, 1, 9)),
    "",
    "a",
    "Line one\nline two",
    "déjà vu 日本語 \U0001f600",
    "| Part | Delivery |\n|---|---|\n| Pole clamp | 6 working days |",
    "word " * 400,  # longer than the model reads
]


@pytest.fixture(scope="module")
def embedder() -> SentenceEmbedder:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("WORKSHOP_EMBEDDER", raising=False)
        patch.setenv("WORKSHOP_DEVICE", "cpu")
        return load_embedder()


@pytest.fixture(scope="module")
def plain(embedder: SentenceEmbedder) -> np.ndarray:
    return np.array(embedder._client.encode(TEXTS, normalize_embeddings=True))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_vectors_are_those_of_sentence_transformers_whatever_the_machine_computes_in(
    embedder: SentenceEmbedder, plain: np.ndarray, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    monkeypatch.setenv("WORKSHOP_DTYPE", dtype)
    vectors = np.array(embedder.embed_documents(TEXTS))
    assert np.abs(vectors - plain).max() < 1e-6


def test_in_bfloat16_every_cosine_to_them_is_above_0_999(embedder: SentenceEmbedder, plain: np.ndarray) -> None:
    import torch

    vectors = np.array(embedder.vectors(TEXTS, torch.bfloat16))
    cosines = (vectors * plain).sum(axis=1)
    assert cosines.min() > 0.999
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.abs(vectors - plain).max() > 1e-6  # it did compute in bfloat16


def test_a_question_is_always_embedded_in_float32(
    embedder: SentenceEmbedder, plain: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSHOP_DTYPE", "bfloat16")
    assert np.abs(np.array(embedder.embed_query(TEXTS[0])) - plain[0]).max() < 1e-6


def test_batches_hold_a_number_of_tokens_and_texts_of_like_length(
    embedder: SentenceEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CPU_TOKENS", 64)
    seen: list[list[int]] = []
    encode = embedder._client.encode

    def watched(texts: list[str], **options: object) -> object:
        seen.append(embedder._lengths(texts))
        assert options["batch_size"] == len(texts)
        return encode(texts, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(embedder._client, "encode", watched)
    embedder.vectors([f"{'battery ' * (n % 8)}{n}" for n in range(30)], torch.float32)
    assert sum(map(len, seen)) == 30
    assert all(len(lengths) * max(lengths) <= 64 for lengths in seen)
    assert all(max(later) <= min(earlier) for earlier, later in pairwise(seen))


def test_no_texts_no_vectors(embedder: SentenceEmbedder) -> None:
    assert embedder.embed_documents([]) == []
