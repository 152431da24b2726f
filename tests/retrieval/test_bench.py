"""The index benchmark, shortened: its arithmetic and its fairness, not its speed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from workshop_utils.retrieval import bench


def test_bench_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "QUERIES", 5)
    monkeypatch.setattr(bench, "GEMM", 256)
    result = bench.bench_index(chunks=12, runs=2, sizes=(20, 200))
    assert (result["chunks"], result["runs"], result["width"]) == (12, 2, 384)
    for name in ("vs_sentence_transformers", "vs_langchain_plain"):
        assert 0 < result[f"{name}_low"] <= result[name] <= result[f"{name}_high"]
    assert result["chunks_per_second"] == result["ours_per_second"] > 0
    assert result["min_cosine"] > 0.999
    for key in ("query_ms", "query_p95_ms", "query_unfiltered_ms", "exact_ms", "disk_mb"):
        assert result[key].keys() == {"20", "200"}
        assert min(result[key].values()) >= 0
    assert result["recall"]["20"] == 1
    assert result["disk_mb"]["200"] > result["disk_mb"]["20"] > 0
    console = Console(record=True, width=160)
    console.print(bench.table(result))
    shown = console.export_text()
    assert f"{result['vs_langchain_plain']:.2f}" in shown
    assert f"{result['query_ms']['200']:,}" in shown


def test_ways_take_turns_and_the_first_run_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    clock = itertools.accumulate(itertools.count())
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    ways: dict[str, Callable[[], object]] = {name: partial(order.append, name) for name in "abc"}
    seconds = bench._take_turns(ways, 3)
    assert [len(measured) for measured in seconds.values()] == [3, 3, 3]
    assert len(order) == 12
    firsts = order[3::3]
    assert sorted(firsts) == ["a", "b", "c"]


def test_the_plain_way_into_chroma_makes_the_same_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the comparison would be of two different jobs."""
    from workshop_utils.corpus import load_documents, split_documents
    from workshop_utils.models import load_embedder

    monkeypatch.setenv("WORKSHOP_DTYPE", "float32")
    passages = split_documents(load_documents(), 60)[:10]
    ways = bench._ways(passages, load_embedder(), tmp_path)
    plain, ours = (
        ways[name]()._collection.get(include=["embeddings", "documents", "metadatas"])  # type: ignore[attr-defined]
        for name in ("langchain_plain", "ours_index")
    )
    rows = [
        {
            key: (text, meta, np.array(vector))
            for key, text, meta, vector in zip(
                got["ids"], got["documents"], got["metadatas"], got["embeddings"], strict=True
            )
        }
        for got in (plain, ours)
    ]
    assert rows[0].keys() == rows[1].keys() == {passage.id for passage in passages}
    for key, (text, meta, vector) in rows[0].items():
        assert rows[1][key][:2] == (text, meta)
        assert np.abs(rows[1][key][2] - vector).max() < 1e-5
