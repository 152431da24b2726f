"""Embedding a large corpus: batch by batch in this process, or on Ray Data by several workers."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings

from workshop_utils.errors import InputError

# texts that share a batch of work: enough to sort by length, few enough to lose little when interrupted
BATCH = 256

Batch = tuple[list[int], np.ndarray[Any, np.dtype[np.float32]]]


def embed_batches(texts: Sequence[str], embedder: Embeddings, *, workers: int = 1) -> Iterator[Batch]:
    """Places of texts and their vectors, shape (places, width), as they are ready; from several workers in any order.

    Args:
        embedder: with several workers it is sent to each of them, weights included.
        workers: processes that embed. More than one need the extra ``scale`` (Ray Data), and run on this machine or,
            when ``RAY_ADDRESS`` names one, on a cluster whose machines have this package.

    Raises:
        workshop_utils.errors.InputError: fewer than one worker, or several and Ray is not installed.
    """
    if workers < 1:
        raise InputError(f"There must be at least 1 worker, not {workers}.")
    if workers == 1:
        for start in range(0, len(texts), BATCH):
            part = list(texts[start : start + BATCH])
            yield list(range(start, start + len(part))), np.array(embedder.embed_documents(part), dtype=np.float32)
    elif texts:
        yield from _on_ray(texts, embedder, workers)


class _Worker:
    """What Ray Data runs in each process: the embedder is unpacked once, then given batch after batch."""

    def __init__(self, embedder: Any) -> None:
        import ray

        self.embedder: Embeddings = ray.get(embedder)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        vectors = self.embedder.embed_documents([str(text) for text in batch["text"]])
        return {"place": batch["place"], "vector": np.array(vectors, dtype=np.float32)}


def _on_ray(texts: Sequence[str], embedder: Embeddings, workers: int) -> Iterator[Batch]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise InputError("Several workers need Ray Data: pip install 'workshop-utils[scale]'.") from error
    started = not ray.is_initialized()
    if started:
        # a pool that waits for more processors than the machine has would wait for ever
        processors = None if os.environ.get("RAY_ADDRESS") else workers + 1
        ray.init(num_cpus=processors, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        rows = ray.data.from_items([{"place": place, "text": text} for place, text in enumerate(texts)])
        vectors = rows.map_batches(
            _Worker,
            fn_constructor_args=(ray.put(embedder),),
            batch_size=BATCH,
            num_cpus=1,
            compute=ray.data.ActorPoolStrategy(size=workers),
        )
        for batch in vectors.iter_batches(batch_size=BATCH):
            yield batch["place"].tolist(), batch["vector"]
    finally:
        if started:
            ray.shutdown()
