"""The comparison in small: every arm is asked, every figure is where it is looked for, nothing is asked twice."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.evaluation.compare.conftest import document
from workshop_utils.errors import InputError
from workshop_utils.evaluation.compare import scoring
from workshop_utils.evaluation.compare.arms import Arm
from workshop_utils.evaluation.compare.material import Later, Material
from workshop_utils.evaluation.compare.run import compare
from workshop_utils.evaluation.compare.table import table
from workshop_utils.models.transformers_chat import AdapterError

QUIET = Console(quiet=True)
FIGURE = {"value", "low", "high", "n"}
ALWAYS = {
    "title",
    "saw",
    "redone_when",
    "steps",
    "correct",
    "exact",
    "f1",
    "choice",
    "abstained",
    "false_abstention",
    "form",
    "current",
    "stale",
    "prompt_tokens",
    "answer_tokens",
    "latency",
    "cost",
    "by_kind",
    "failures",
}


@pytest.fixture
def result(material: Material, arms: dict[str, Arm]) -> dict[str, Any]:
    return compare(material, QUIET, arms=arms)


def test_every_figure_is_there_where_it_is_defined(result: dict[str, Any], arms: dict[str, Arm]) -> None:
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert list(result["arms"]) == list(arms)
    assert result["counts"] == {"single": 5, "multi": 1, "unanswerable": 2, "changed": 1, "restricted": 1}
    assert (result["split"], result["n"], result["quick"]) == ("dev", 10, False)
    for key, row in result["arms"].items():
        assert set(row) >= ALWAYS
        assert ("cited" in row) == arms[key].retrieves
        assert ("forgetting" in row) == (arms[key].adapter is not None)
        for name in ("correct", "f1", "choice", "form", "current", "prompt_tokens"):
            assert set(row[name]) >= FIGURE, name
        # five with one fact, one with two, one that changes later
        assert (row["correct"]["n"], row["abstained"]["n"], row["form"]["n"]) == (7, 2, 10)
        assert row["stale"]["n"] == 1
        assert row["latency"]["n"] == 5
        assert 0 < row["latency"]["p50"] <= row["latency"]["p95"]
        assert row["answer_tokens"]["value"] > 0
        assert set(row["by_kind"]) == {"single", "multi", "changed", "unanswerable", "restricted"}
        assert set(row["by_kind"]["restricted"]) == {"correct", "leaked", "abstained"}
        assert len(row["failures"]) == 3
        assert set(result["answers"][key]) == {f"KB-{n}-q1" for n in range(10)}
    assert [(one["a"], one["b"]) for one in result["differences"]] == [
        ("raft_rag", "few_shot_rag"),
        ("raft_rag", "reader_rag"),
        ("raft_rag", "lora_task_rag"),
        ("raft_rag", "lora_knowledge"),
        ("rag", "base"),
    ]
    assert result["seconds"] == pytest.approx(sum(result["stages"].values()))
    QUIET.print(table(result))


def test_what_an_arm_takes(result: dict[str, Any]) -> None:
    costs = {key: row["cost"] for key, row in result["arms"].items()}
    assert costs["base"] == costs["few_shot"] == {}
    assert set(costs["rag"]) == {"index_seconds", "update_seconds"}
    assert costs["rag"]["update_seconds"] == costs["raft_rag"]["update_seconds"] == 1.5
    assert costs["lora_knowledge"]["update_seconds"] == costs["lora_knowledge"]["training_seconds"] == 12
    assert "index_seconds" not in costs["lora_knowledge"]
    assert costs["reader_rag"]["adapter_mb"] > 0
    tuned = result["arms"]["lora_task"]["forgetting"]
    assert tuned["knowledge"]["value"] == -0.5
    assert tuned["logprob_change"]["value"] == pytest.approx(-0.1)


def test_an_adapter_that_goes_on_from_another_costs_both(material: Material, arms: dict[str, Arm]) -> None:
    assert arms["raft_rag"].starts_from == arms["reader_rag"].adapter
    row = compare(material, QUIET, arms={"raft_rag": arms["raft_rag"]})["arms"]["raft_rag"]
    assert (row["cost"]["training_seconds"], row["cost"]["training_tokens"]) == (23, 200)
    assert row["cost"]["training_peak_mb"] == 53


def test_a_second_run_asks_nothing_and_gives_the_same(
    material: Material, arms: dict[str, Arm], result: dict[str, Any], counts: dict[str, int]
) -> None:
    retrieving = sum(arm.retrieves for arm in arms.values())
    # all questions of all arms, and the changed one again of those that find another passage
    assert counts["batch"] == 10 * len(arms) + retrieving
    assert counts["logprobs"] == 7 * len(arms)
    before = dict(counts)
    again = compare(material, QUIET, arms=arms)
    assert counts == before
    for one in (again, result):
        assert one["stages"].pop("answers") > 0
        for name in ("seconds", "stages"):
            one.pop(name)
        for row in one["arms"].values():
            row.pop("latency")
            row["cost"].pop("index_seconds", None)
    assert again == result


def test_an_interrupted_run_goes_on_with_the_arm_where_it_was(
    material: Material, arms: dict[str, Arm], counts: dict[str, int]
) -> None:
    some = {key: arms[key] for key in ("base", "reader_rag")}
    compare(material, QUIET, arms=some)
    asked = counts["batch"]
    compare(material, QUIET, arms={**some, "few_shot": arms["few_shot"]})
    assert counts["batch"] == asked + 10


def test_another_adapter_in_the_same_folder_is_asked_anew(
    material: Material, arms: dict[str, Arm], counts: dict[str, int], tiny_llama: Path
) -> None:
    from tests.tiny import save_lora

    one = {"lora_task": arms["lora_task"]}
    first = compare(material, QUIET, arms=one)
    asked = counts["batch"]
    assert arms["lora_task"].adapter is not None
    save_lora(arms["lora_task"].adapter, tiny_llama, seed=77)
    again = compare(material, QUIET, arms=one)
    assert counts["batch"] == asked + 10
    assert again["inputs"] != first["inputs"]


def test_arms_without_retrieval_answer_as_before_the_update(material: Material, arms: dict[str, Arm]) -> None:
    assert material.later is not None
    later = replace(material.later, questions=(replace(material.later.questions[0], answer="55 minutes"),))
    one = {"base": arms["base"]}
    said = compare(material, QUIET, arms=one)["answers"]["base"]["KB-6-q1"]
    stale = replace(later, former={"KB-6-q1": (said,)})
    row = compare(replace(material, later=stale), QUIET, arms=one)["arms"]["base"]
    assert row["stale"]["count"] == 1
    assert row["current"]["count"] == 0


def test_arms_with_retrieval_read_the_documents_as_they_are_then(
    material: Material, arms: dict[str, Arm], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert material.later is not None
    rewritten = tuple(document(n, 900 + n) for n in range(7))
    marked: list[list[str]] = []

    def staleness(_: Later, answers: list[str]) -> dict[str, Any]:
        marked.append(answers)
        return {}

    monkeypatch.setattr(scoring, "staleness", staleness)
    changed = replace(material, later=replace(material.later, documents=rewritten))
    result = compare(changed, QUIET, arms={"base": arms["base"], "reader_rag": arms["reader_rag"]})
    first = {key: said["KB-6-q1"] for key, said in result["answers"].items()}
    assert marked[0] == [first["base"]]
    assert marked[1] != [first["reader_rag"]]


def test_a_sample_asks_fewer(material: Material, arms: dict[str, Arm], monkeypatch: pytest.MonkeyPatch) -> None:
    sample = Material.sample
    monkeypatch.setattr(Material, "sample", lambda self: sample(self, 6))
    found = compare(material, QUIET, arms={"lora_task": arms["lora_task"]}, quick=True)
    assert found["quick"]
    assert 5 <= found["n"] < 10
    assert "forgetting" not in found["arms"]["lora_task"]


def test_material_without_updates_has_no_stale_answers(material: Material, arms: dict[str, Arm]) -> None:
    row = compare(replace(material, later=None), QUIET, arms={"rag": arms["rag"]})["arms"]["rag"]
    assert "stale" not in row
    assert "update_seconds" not in row["cost"]


def test_nothing_that_was_asked_has_changed(material: Material, arms: dict[str, Arm]) -> None:
    assert material.later is not None
    calm = replace(material, later=replace(material.later, questions=()))
    row = compare(calm, QUIET, arms={"rag": arms["rag"]})["arms"]["rag"]
    assert "stale" not in row
    assert row["cost"]["update_seconds"] == 1.5


def test_a_missing_adapter_is_named_with_the_command_that_makes_it(
    material: Material, arms: dict[str, Arm], tmp_path: Path
) -> None:
    raft = replace(arms["raft_rag"], adapter=tmp_path / "none")
    with pytest.raises(AdapterError, match=r"RAFT \+ RAG.*none is not an adapter.*workshop train raft"):
        compare(material, QUIET, arms={"raft_rag": raft})


def test_nothing_to_ask_is_said(material: Material) -> None:
    with pytest.raises(InputError, match="no questions"):
        compare(replace(material, questions=()), QUIET)


def test_only_questions_without_an_answer(material: Material, arms: dict[str, Arm]) -> None:
    silent = replace(material, questions=material.questions[7:9], later=None)
    said = StringIO()
    found = compare(silent, Console(file=said), arms={"rag": arms["rag"], "base": arms["base"]})
    assert "correct" not in found["arms"]["rag"]
    assert found["arms"]["rag"]["abstained"]["n"] == 2
    assert found["differences"] == []
    assert "RAG" in said.getvalue()
    table(found)
