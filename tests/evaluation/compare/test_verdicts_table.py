"""The usual verdicts beside the measured ones: each rule decides as it says, and what is missing decides nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.compare import plausible
from workshop_utils.evaluation.compare.verdicts_table import (
    ANSWERS,
    RULES,
    State,
    difference,
    fit,
    made,
    rows,
    spent,
    table,
    together,
    use_verdicts,
)
from workshop_utils.evaluation.deciding import OPTIONS


@pytest.fixture
def result() -> dict[str, Any]:
    return plausible.result()


def row(result: dict[str, Any], key: str, results: Path | None = None) -> dict[str, Any]:
    return next(one for one in rows(result, results) if one["id"] == key)


def states(result: dict[str, Any], key: str, results: Path | None = None) -> list[str]:
    return [part["state"] for part in row(result, key, results)["parts"]]


def test_every_row_has_all_three_advices_and_all_nine_arms(result: dict[str, Any]) -> None:
    found = rows(result)
    assert [one["id"] for one in found] == [f"T{n}" for n in range(1, 8)] == list(RULES)
    for one in found:
        assert tuple(one["usual"]) == OPTIONS
        assert all(one["usual"].values())
        assert list(one["arms"]) == list(result["arms"])
        assert one["verdict"] in ("agrees", "agrees only when", "disagrees", "not decidable")
        assert all(part["figures"] and part["rule"] for part in one["parts"])
        assert all(part["says"] in one["because"] for part in one["parts"])
    assert all(one["arms"]["raft_rag"] for one in found[:6])
    assert json.loads(json.dumps(found)) == found
    assert table(result).row_count == 7


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (["agrees", "agrees"], "agrees"),
        (["disagrees", "disagrees"], "disagrees"),
        (["agrees", "disagrees"], "agrees only when"),
        (["agrees", "not decidable"], "agrees only when"),
        (["agrees only when", "disagrees"], "agrees only when"),
        (["disagrees", "not decidable"], "not decidable"),
        (["not decidable", "not decidable"], "not decidable"),
    ],
)
def test_statements_together(parts: list[State], expected: str) -> None:
    assert together(parts) == expected


@pytest.mark.parametrize(
    ("seconds", "state"), [(25.0, "agrees"), (24.9, "not decidable"), (12.5, "disagrees"), (3.0, "disagrees")]
)
def test_seconds_are_told_apart_from_twice_as_many_on(seconds: float, state: str, result: dict[str, Any]) -> None:
    result["arms"]["lora_knowledge"]["cost"]["training_seconds"] = seconds
    assert states(result, "T3")[0] == state


def test_parts_are_counted_and_one_more_is_more(result: dict[str, Any]) -> None:
    result["arms"]["rag"]["steps"] = ["a"] * 6
    result["arms"]["lora_knowledge"]["steps"] = ["a"] * 7
    assert states(result, "T2")[0] == "agrees"
    result["arms"]["lora_knowledge"]["steps"] = ["a"] * 6
    assert states(result, "T2")[0] == "disagrees"


def test_cost_counts_making_and_answering(result: dict[str, Any]) -> None:
    arm = result["arms"]["raft_rag"]
    assert made(arm) == 980.0 + 12.5
    assert spent(arm) == pytest.approx((980.0 + 12.5 + ANSWERS * 0.9) / 3600)
    # dear to make and quick to ask: the usual order turns round
    assert states(result, "T1")[0] == "disagrees"
    result["arms"]["lora_knowledge"]["cost"]["training_seconds"] = 20_000.0
    assert states(result, "T1")[0] == "agrees"


@pytest.mark.parametrize(
    ("value", "low", "high", "state"),
    [
        (0.05, 0.001, 0.1, "agrees"),
        (0.049, 0.001, 0.1, "not decidable"),
        (0.2, 0.0, 0.4, "not decidable"),
        (0.0, -0.06, 0.06, "not decidable"),
        (0.02, 0.0, 0.049, "disagrees"),
        (-0.2, -0.3, -0.1, "disagrees"),
    ],
)
def test_a_share_is_higher_by_the_margin_and_the_interval(
    value: float, low: float, high: float, state: str, result: dict[str, Any]
) -> None:
    first = result["differences"][0]
    assert (first["a"], first["b"]) == ("raft_rag", "few_shot_rag")
    first |= {"value": value, "low": low, "high": high}
    assert states(result, "T5")[1] == state


def test_a_tested_difference_is_taken_in_either_direction(result: dict[str, Any]) -> None:
    tested = result["differences"][0]
    expected = {name: tested[name] for name in ("value", "low", "high")}
    assert difference(result, "correct", "raft_rag", "few_shot_rag") == expected
    turned = {"value": -tested["value"], "low": -tested["high"], "high": -tested["low"]}
    assert difference(result, "correct", "few_shot_rag", "raft_rag") == turned
    # the test was of correct answers, not of citations
    assert difference(result, "cited", "raft_rag", "few_shot_rag") != expected


def test_other_differences_are_as_wide_as_both_intervals(result: dict[str, Any]) -> None:
    result["arms"]["raft_rag"]["cited"] = {"value": 0.6, "low": 0.5, "high": 0.7, "n": 9}
    result["arms"]["few_shot_rag"]["cited"] = {"value": 0.4, "low": 0.35, "high": 0.45, "n": 9}
    found = difference(result, "cited", "raft_rag", "few_shot_rag")
    assert found == pytest.approx({"value": 0.2, "low": 0.05, "high": 0.35})
    assert difference(result, "cited", "raft_rag", "base") is None


def test_transparency_is_a_share_above_a_half_and_no_citation_without_passages(result: dict[str, Any]) -> None:
    rival = result["arms"]["few_shot_rag"]
    for low, high, state in ((0.51, 0.7, "agrees"), (0.5, 0.7, "not decidable"), (0.2, 0.49, "disagrees")):
        rival["cited"] = {"value": (low + high) / 2, "low": low, "high": high, "n": 100}
        assert states(result, "T6")[0] == state
    assert states(result, "T6")[1] == "agrees"
    result["arms"]["lora_knowledge"]["cited"] = rival["cited"]
    assert states(result, "T6")[1] == "disagrees"


@pytest.mark.parametrize(
    ("verdict", "state"),
    [
        ("fits", "agrees"),
        ("holds", "agrees"),
        ("holds only when measured by style", "agrees only when"),
        ("does not fit here", "disagrees"),
        ("does not hold here", "disagrees"),
        ("not decidable here", "not decidable"),
        ("something new", "not decidable"),
    ],
)
def test_uses_are_as_their_lessons_found(verdict: str, state: str) -> None:
    assert fit(verdict) == state


def test_uses_come_from_the_studies_and_one_that_is_not_there_decides_nothing(
    result: dict[str, Any], tmp_path: Path
) -> None:
    assert states(result, "T7", tmp_path) == ["not decidable"] * 8
    stored = {
        "langchain": {"uses": {"documentation": {"verdict": "fits"}, "support": {"verdict": "does not fit here"}}},
        "tasks": {"verdicts": {"FU1": "holds", "FU3": "holds only when measured by triage", "F0": "holds"}},
    }
    for name, content in stored.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content), "utf-8")
    assert use_verdicts(tmp_path) == {
        "RU1": "fits",
        "RU2": "does not fit here",
        "FU1": "holds",
        "FU3": "holds only when measured by triage",
    }
    found = row(result, "T7", tmp_path)
    states_of = {part["says"]: part["state"] for part in found["parts"]}
    assert states_of["RAG fits internal FAQ and documentation"] == "agrees"
    assert states_of["RAG fits support"] == "disagrees"
    assert states_of["fine-tuning fits records from text"] == "agrees only when"
    assert states_of["RAG fits archives"] == "not decidable"
    assert found["verdict"] == "agrees only when"
    assert found["arms"]["reader_rag"] == "internal FAQ and documentation: fits; support: does not fit"
    assert "records from text: fits in part" in found["arms"]["lora_task"]


def test_the_stored_studies_decide_every_use() -> None:
    assert len(use_verdicts(Path(__file__).parents[3] / "data" / "results")) == 8


def test_arms_that_are_left_out_decide_nothing(result: dict[str, Any]) -> None:
    for key in ("lora_knowledge", "raft_rag", "lora_task"):
        del result["arms"][key]
    result["differences"] = [one for one in result["differences"] if "raft_rag" not in (one["a"], one["b"])]
    for key in ("T1", "T2", "T3", "T4", "T5"):
        assert set(states(result, key)) == {"not decidable"}
        assert row(result, key)["verdict"] == "not decidable"
    assert states(result, "T6") == ["disagrees", "not decidable", "not decidable"]


def test_figures_that_nobody_measured_decide_nothing(result: dict[str, Any]) -> None:
    for arm in result["arms"].values():
        for name in ("current", "stale", "cited", "citation_precision"):
            arm.pop(name, None)
        arm["cost"].pop("update_seconds", None)
    assert states(result, "T4") == ["not decidable"] * 4
    assert states(result, "T6") == ["not decidable", "agrees", "not decidable"]
