"""How fast a corpus is embedded and indexed beside the usual ways, and how long a query takes as it grows."""

from __future__ import annotations

import gc
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from rich.console import Group
from rich.table import Table

from workshop_utils.corpus import load_documents, split_documents
from workshop_utils.models import device, load_embedder
from workshop_utils.retrieval.dense import DenseRetriever, build_index

if TYPE_CHECKING:
    from workshop_utils.models.sentence_embedder import SentenceEmbedder

PASSAGE_TOKENS = 60
SIZES = (1_000, 10_000, 100_000)
QUERIES = 50
K = 3
GEMM = 1536
MEGABYTE = 1_000_000

Vectors = np.ndarray[Any, np.dtype[np.float32]]


def bench_index(
    chunks: int | None = None, runs: int = 3, sizes: Sequence[int] = SIZES, folder: Path | None = None
) -> dict[str, Any]:
    """Embedding and indexing the company's passages in four ways that take turns, and queries against larger indexes.

    ``sentence_transformers`` is ``SentenceTransformer.encode`` as it comes (float32, 32 texts a batch); ``ours`` is
    ``load_embedder().embed_documents``, and ``ours_float32`` the same without bfloat16. ``langchain_plain`` is
    ``Chroma.from_documents`` with ``HuggingFaceEmbeddings``; ``ours_index`` is ``build_index``; both write to disk.
    All use the same weights and the threads that torch uses.

    Queries go to a Chroma index of random unit vectors as wide as the embedder's, which are harder for its HNSW graph
    than texts. Each is timed with the access filter of ``DenseRetriever``, the embedding of the question apart.

    Args:
        chunks: how many of the company's passages are embedded; all when None.
        runs: how often each way is measured, after one that is not.
        sizes: vectors of the indexes that are queried.
        folder: where the indexes are written and removed again; the system's folder for temporary files when None.

    Returns:
        ``vs_sentence_transformers``, ``vs_langchain_plain``: medians over the runs of our speed over theirs in the
        same run, with ``..._low`` and ``..._high``; ``vs_sentence_transformers_float32``; ``chunks_per_second``, as
        embedded by ``ours``, and ``chunks_per_second_per_core``; ``WAY_per_second`` of every way;
        ``min_cosine``, the least of our vectors to the plain ones; ``gemm_share``, of the matrix-product peak measured
        in the same run that embedding reaches; ``embed_query_ms``; by number of vectors ``query_ms`` (median),
        ``query_p95_ms``, ``query_unfiltered_ms``, ``exact_ms`` (all cosines in numpy), ``recall`` (share of the
        true nearest ``k`` that the unfiltered search finds), ``disk_mb``, ``memory_mb`` (growth of this process) and
        ``build_s``; ``chunks``, ``tokens``, ``runs``, ``threads``, ``dtype``, ``width``.

    Raises:
        workshop_utils.models.store.ModelStoreError: the embedder cannot be had.
    """
    import torch

    embedder = load_embedder()
    passages = split_documents(load_documents(groups=None), PASSAGE_TOKENS)[:chunks]
    texts = [passage.page_content for passage in passages]
    chosen = device.choose()
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as work:
        seconds = _take_turns(_ways(passages, embedder, Path(work)), runs)
        result: dict[str, Any] = {}
        for name, measured in seconds.items():
            result[f"{name}_per_second"] = round(len(texts) / statistics.median(measured), 1)
        for name, theirs, ours in (
            ("vs_sentence_transformers", "sentence_transformers", "ours"),
            ("vs_sentence_transformers_float32", "sentence_transformers", "ours_float32"),
            ("vs_langchain_plain", "langchain_plain", "ours_index"),
        ):
            ratios = [a / b for a, b in zip(seconds[theirs], seconds[ours], strict=True)]
            result[name] = round(statistics.median(ratios), 3)
            result |= {f"{name}_low": round(min(ratios), 3), f"{name}_high": round(max(ratios), 3)}
        plain = embedder._client.encode(texts, normalize_embeddings=True)
        cosines = np.sum(plain * np.array(embedder.embed_documents(texts)), axis=1)
        flop, tokens = _required_flop(embedder, texts)
        speed = len(texts) / statistics.median(seconds["ours"])
        result |= {
            "chunks_per_second": round(speed, 1),
            "chunks_per_second_per_core": round(speed / torch.get_num_threads(), 1),
            "min_cosine": round(float(cosines.min()), 5),
            "gemm_share": round(flop * speed / len(texts) / _gemm_peak(chosen), 3),
            "embed_query_ms": round(_median_ms(embedder.embed_query, texts[:QUERIES]), 2),
        }
        by_size = {size: _queries(size, plain.shape[1], Path(work) / f"queries-{size}") for size in sizes}
    for key in next(iter(by_size.values()), {}):
        result[key] = {str(size): measured[key] for size, measured in by_size.items()}
    return result | {
        "chunks": len(texts),
        "tokens": tokens,
        "runs": runs,
        "threads": torch.get_num_threads(),
        "dtype": chosen.dtype,
        "width": plain.shape[1],
        "k": K,
    }


def table(result: dict[str, Any]) -> Group:
    """What ``bench_index`` returned, to print."""
    speeds = Table(
        title=f"{result['chunks']:,} passages of {result['tokens'] / result['chunks']:.0f} tokens, "
        f"median of {result['runs']} runs, {result['threads']} threads"
    )
    for column in ("", "passages per second", "ours to theirs"):
        speeds.add_column(column, justify="right" if column else "left")
    rows = (
        ("embed: sentence-transformers encode", "sentence_transformers", None),
        (f"embed: ours, {result['dtype']}", "ours", "vs_sentence_transformers"),
        ("embed: ours, float32", "ours_float32", "vs_sentence_transformers_float32"),
        ("index: Chroma.from_documents, langchain-huggingface", "langchain_plain", None),
        ("index: ours, build_index", "ours_index", "vs_langchain_plain"),
    )
    for label, key, ratio in rows:
        speeds.add_row(label, f"{result[f'{key}_per_second']:.1f}", _spread(result, ratio) if ratio else "")
    speeds.caption = (
        f"{result['gemm_share']:.0%} of the matrix-product peak; least cosine to the plain vectors "
        f"{result['min_cosine']:.5f}; a question is embedded in {result['embed_query_ms']:.1f} ms"
    )
    queries = Table(title=f"A query for {result['k']} of so many random unit vectors (milliseconds, median)")
    columns = {
        "with access rights": "query_ms",
        "p95": "query_p95_ms",
        "without": "query_unfiltered_ms",
        "exact, numpy": "exact_ms",
        "found": "recall",
        "MB on disk": "disk_mb",
        "MB in memory": "memory_mb",
        "seconds to build": "build_s",
    }
    for column in ("vectors", *columns):
        queries.add_column(column, justify="right")
    for size in result["query_ms"]:
        queries.add_row(f"{int(size):,}", *(f"{result[key][size]:,}" for key in columns.values()))
    return Group(speeds, queries)


def _spread(result: dict[str, Any], name: str) -> str:
    return f"{result[name]:.2f} ({result[f'{name}_low']:.2f} to {result[f'{name}_high']:.2f})"


def _ways(passages: Sequence[Document], embedder: SentenceEmbedder, work: Path) -> dict[str, Callable[[], object]]:
    import torch
    from chromadb.config import Settings
    from langchain_chroma import Chroma
    from langchain_huggingface import HuggingFaceEmbeddings

    texts = [passage.page_content for passage in passages]
    plain = HuggingFaceEmbeddings(
        model=embedder.model_name, model_kwargs=embedder.model_kwargs, encode_kwargs=embedder.encode_kwargs
    )
    made = iter(range(1_000_000))

    return {
        "sentence_transformers": lambda: embedder._client.encode(texts, normalize_embeddings=True),
        "ours": lambda: embedder.embed_documents(texts),
        "ours_float32": lambda: embedder.vectors(texts, torch.float32),
        "langchain_plain": lambda: Chroma.from_documents(
            list(passages),
            plain,
            ids=[str(passage.id) for passage in passages],
            persist_directory=str(work / f"plain-{next(made)}"),
            client_settings=Settings(anonymized_telemetry=False),
        ),
        "ours_index": lambda: build_index(passages, embedder, work / f"ours-{next(made)}"),
    }


def _take_turns(ways: dict[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """Seconds of every way in every run; a first run is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for run in range(-1, runs):
        # each goes first in turn, so that none always follows the one that heats the machine most
        names = list(ways)
        for name in names[run % len(names) :] + names[: run % len(names)]:
            gc.collect()
            started = time.perf_counter()
            ways[name]()
            if run >= 0:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def _required_flop(embedder: SentenceEmbedder, texts: Sequence[str]) -> tuple[float, int]:
    """Floating-point operations of the matrix products that the texts need without padding, and their tokens."""
    encoder: Any = embedder._client
    encoded = encoder.tokenizer(list(texts), truncation=True, max_length=encoder.max_seq_length)
    lengths = np.array([len(ids) for ids in encoded["input_ids"]])
    config = encoder[0].model.config
    layer = 4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size
    products = lengths * layer + 2 * lengths**2 * config.hidden_size
    return float(2 * config.num_hidden_layers * products.sum()), int(lengths.sum())


def _gemm_peak(chosen: device.Device) -> float:
    """Floating-point operations per second of a large square matrix product."""
    import torch

    square = torch.randn(GEMM, GEMM, device=chosen.name, dtype=chosen.torch_dtype)
    best = math.inf
    for _ in range(10):
        started = time.perf_counter()
        float((square @ square)[0, 0])
        best = min(best, time.perf_counter() - started)
    return 2 * GEMM**3 / best


def _queries(size: int, width: int, path: Path) -> dict[str, float]:
    """Latency, disk and memory of an index of random unit vectors."""
    import psutil

    random = np.random.default_rng(0)
    vectors, asked = _unit(random, size, width), _unit(random, QUERIES, width)
    gc.collect()
    before = psutil.Process().memory_info().rss
    started = time.perf_counter()
    index = build_index([], _Given(asked), path)
    step = 5000
    for start in range(0, size, step):
        places = range(start, min(start + step, size))
        index._collection.add(
            ids=[str(place) for place in places],
            embeddings=vectors[start : start + step],
            documents=["x" * 300] * len(places),
            metadatas=[{"source": f"D-{place // 20}", "acl": ["everyone"]} for place in places],
        )
    built = time.perf_counter() - started
    retriever = DenseRetriever(index=index, k=K)
    filtered = _milliseconds(lambda i: retriever.search(str(i)))
    found: list[list[str]] = []

    def unfiltered(i: int) -> None:
        documents = index.similarity_search_by_vector(asked[i].tolist(), k=K)
        found.append([str(document.id) for document in documents])

    open_ms = _milliseconds(unfiltered)
    grown = psutil.Process().memory_info().rss - before
    exact: list[set[str]] = []

    def brute_force(i: int) -> None:
        cosines = vectors @ asked[i]
        exact.append({str(place) for place in np.argpartition(-cosines, min(K, size) - 1)[:K]})

    exact_ms = _milliseconds(brute_force)
    pairs = list(zip(found, exact, strict=True))
    return {
        "query_ms": round(statistics.median(filtered), 2),
        "query_p95_ms": round(float(np.quantile(filtered, 0.95)), 2),
        "query_unfiltered_ms": round(statistics.median(open_ms), 2),
        "exact_ms": round(statistics.median(exact_ms), 2),
        "recall": round(float(np.mean([len(set(near) & true) / len(true) for near, true in pairs])), 3),
        "disk_mb": round(sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / MEGABYTE, 1),
        "memory_mb": round(grown / MEGABYTE, 1),
        "build_s": round(built, 1),
    }


class _Given(Embeddings):
    """The i-th of given vectors for the question 'i'; any other question gets the first."""

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        vector: list[float] = self.vectors[int(text) if text.isdigit() else 0].tolist()
        return vector


def _milliseconds(ask: Callable[[int], object]) -> list[float]:
    times = []
    for i in range(QUERIES):
        started = time.perf_counter()
        ask(i)
        times.append((time.perf_counter() - started) * 1000)
    return times


def _median_ms(ask: Callable[[str], object], texts: Sequence[str]) -> float:
    return statistics.median(_milliseconds(lambda i: ask(texts[i % len(texts)])))


def _unit(random: np.random.Generator, count: int, width: int) -> Vectors:
    vectors = random.standard_normal((count, width), dtype=np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)
