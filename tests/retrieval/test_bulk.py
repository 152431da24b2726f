"""Bulk embedding: each text gets its own vector, however many workers there are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document

from tests.tiny import HashEmbedder
from workshop_utils.errors import InputError
from workshop_utils.models import load_embedder
from workshop_utils.retrieval import bulk
from workshop_utils.retrieval.bulk import embed_batches
from workshop_utils.retrieval.dense import build_index

PASSAGES = [
    Document(
        id=f"D-{n:02d}",
        page_content=f"Passage {n}. " + "The pump runs on its battery. " * (n % 7),
        metadata={"source": f"D-{n:02d}", "acl": ["everyone"]},
    )
    for n in range(40)
]


def stored(folder: Path, workers: int, embedder: object) -> dict[str, tuple[str, object, list[float]]]:
    index = build_index(PASSAGES, embedder, folder, workers=workers)  # type: ignore[arg-type]
    got: dict[str, Any] = dict(index._collection.get(include=["documents", "metadatas", "embeddings"]))
    rows = zip(got["ids"], got["documents"], got["metadatas"], got["embeddings"], strict=True)
    return {key: (text, metadata, list(vector)) for key, text, metadata, vector in rows}


@pytest.mark.parametrize("n", [0, 1, 5, 6, 13])
def test_every_text_is_embedded_once_at_its_place(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "BATCH", 5)
    embedder, texts = HashEmbedder(), [f"text {i}" for i in range(n)]
    placed = {
        place: pytest.approx(vector.tolist())
        for places, vectors in embed_batches(texts, embedder)
        for place, vector in zip(places, vectors, strict=True)
    }
    assert {place: embedder.embed_query(text) for place, text in enumerate(texts)} == placed
    assert embedder.embedded == texts


@pytest.mark.slow
def test_two_workers_on_ray_make_the_same_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setattr(bulk, "BATCH", 8)
    embedder = load_embedder()
    one, two = (stored(tmp_path / str(workers), workers, embedder) for workers in (1, 2))
    assert one.keys() == two.keys() == {passage.id for passage in PASSAGES}
    for key, (text, metadata, vector) in one.items():
        assert two[key][:2] == (text, metadata)
        assert np.dot(two[key][2], vector) > 0.9999
    first = np.array([one[str(passage.id)][2] for passage in PASSAGES])
    assert np.sort(first @ first.T, axis=1)[:, -2].max() < 0.9999  # no two passages could be mistaken for each other


def test_without_ray_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'workshop-utils\[scale\]'"):
        list(embed_batches(["a", "b"], HashEmbedder(), workers=2))


@pytest.mark.parametrize("workers", [0, -1])
def test_there_must_be_a_worker(workers: int) -> None:
    with pytest.raises(InputError, match=f"not {workers}"):
        list(embed_batches(["a"], HashEmbedder(), workers=workers))
