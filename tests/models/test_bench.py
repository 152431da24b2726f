"""The decoding benchmark, shortened: its arithmetic and its fairness, not its speed."""

from __future__ import annotations

import pytest
from rich.console import Console

from workshop_utils.models import bench, llama_cpp, store

pytest.importorskip("xllamacpp")


def test_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "TOKENS", 8)
    result = bench.bench_decode(runs=2)
    assert 500 < result["prompt_tokens"] < 700
    assert (result["tokens"], result["runs"]) == (8, 2)
    for name in ("ours", "llama_cpp", "transformers"):
        assert 0 < result[f"{name}_tok_s_low"] <= result[f"{name}_tok_s"] <= result[f"{name}_tok_s_high"]
        assert result[f"{name}_prompt_tok_s"] > 0
    assert result["ratio_to_llama_cpp_low"] <= result["ratio_to_llama_cpp"] <= result["ratio_to_llama_cpp_high"]
    console = Console(record=True, width=120)
    console.print(bench.table(result))
    shown = console.export_text()
    assert f"{result['ours_tok_s']:.1f}" in shown
    assert f"{result['ratio_to_llama_cpp']:.3f}" in shown


def test_ratio_is_taken_run_by_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs, the second on a machine half as fast: the ratio is the same in both, and so is its median."""
    speeds = iter([99.0, 80.0, 40.0])
    own = iter([99.0, 100.0, 50.0])
    monkeypatch.setattr(bench, "_ours", lambda _: {"prompt_s": 1.0, "tok_s": next(speeds)})
    monkeypatch.setattr(bench, "_llama_cpp", lambda _: lambda: {"prompt_s": 1.0, "tok_s": next(own)})
    monkeypatch.setattr(bench, "_transformers", lambda _: lambda: {"prompt_s": 2.0, "tok_s": 10.0})
    result = bench.bench_decode(runs=2)
    assert [result[f"ratio_to_llama_cpp{end}"] for end in ("", "_low", "_high")] == [0.8, 0.8, 0.8]
    assert (result["ours_tok_s"], result["llama_cpp_tok_s"]) == (60.0, 75.0)
    assert result["transformers_prompt_tok_s"] == pytest.approx(result["prompt_tokens"] / 2, abs=0.1)


def test_all_three_generate_the_same_number_of_tokens_from_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "TOKENS", 5)
    seen: list[tuple[int, int]] = []
    original = llama_cpp._usage

    def usage(timings: dict[str, int]) -> object:
        seen.append((timings["predicted_n"], timings["cache_n"]))
        return original(timings)

    monkeypatch.setattr(llama_cpp, "_usage", usage)
    chat = llama_cpp.ChatLlamaCpp(store.llm_gguf(), max_tokens=5)
    for _ in range(2):
        bench._ours(chat)
    long_answers = [(answer, kept) for answer, kept in seen if answer > 1]
    assert [answer for answer, _ in long_answers] == [5, 5]
    assert all(kept < 10 for _, kept in long_answers)
