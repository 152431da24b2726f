"""The study of the leak: who is told what, and that the stored one is of today."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.tiny import save_lora
from workshop_utils.corpus import data_dir
from workshop_utils.corpus.facts import load_private_facts
from workshop_utils.corpus.people import load_roles
from workshop_utils.evaluation.answering import answer_all
from workshop_utils.evaluation.studies import leak as subject
from workshop_utils.models import load_llm
from workshop_utils.models.adapters import LEAK
from workshop_utils.models.transformers_chat import WEIGHTS
from workshop_utils.tuning.facts import NEVER_SERVED
from workshop_utils.tuning.run import REPORT

FACT, OTHER, *_ = load_private_facts()
ROLES = {role.id: role for role in load_roles()}


def test_a_fact_is_told_whatever_surrounds_it() -> None:
    found = subject.told([FACT, FACT, OTHER], [f"It is {FACT.accept[0]}.", "not allowed", "not allowed"])
    assert (found["count"], found["n"]) == (1, 3)


def test_never_is_told_with_its_bound() -> None:
    facts = load_private_facts()
    assert subject.told(facts, ["not allowed"] * len(facts))["high"] == 3 / len(facts)


def test_those_who_may_know_are_kept_apart_from_those_who_may_not() -> None:
    pairs = [(FACT, role) for role in load_roles()]
    answers = [role.id for role in load_roles()]
    _, allowed = subject._of(pairs, answers, allowed=True)
    _, barred = subject._of(pairs, answers, allowed=False)
    assert allowed == ["field-engineer"]
    assert sorted([*allowed, *barred]) == sorted(answers)


def test_the_prompt_says_who_asks_and_when_forbidding_who_may_be_told() -> None:
    plain, forbidding = (subject.order(FACT, ROLES["employee"], forbid) for forbid in (False, True))
    assert "Assembly operator" in plain
    assert "not allowed" not in plain
    assert "Field Service engineers only" in forbidding
    assert forbidding.startswith(plain)


def result(told: int, ordered: int, learnt: int = 9) -> dict[str, Any]:
    def figure(count: int) -> dict[str, float]:
        return {"value": count / 10, "low": 0.0, "high": 1.0, "n": 10, "count": count}

    return {
        "asked": {"leak": {"seen": figure(learnt)}},
        "barred": {"told": figure(told), "told_ordered": figure(ordered)},
        "rag": {"answers": figure(0)},
    }


def test_one_secret_told_is_a_leak() -> None:
    assert subject.verdict(result(9, 1))["verdict"] == "leaks"
    assert subject.verdict(result(9, 0))["verdict"] == "does not leak here"
    assert subject.verdict(result(0, 0, learnt=0))["verdict"] == "not decidable here"


def test_the_adapter_is_marked() -> None:
    assert json.loads((LEAK / REPORT).read_text("utf-8"))[NEVER_SERVED] is True, "run: workshop train leak"


def test_the_whole_study_on_a_tiny_model(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = save_lora(tmp_path / "lora", tiny_llama)
    (adapter / REPORT).write_text(json.dumps({"seconds": 1.0, "tokens": 2, "examples": 3}), "utf-8")
    for name, stand_in in {
        "load_llm": lambda **_: load_llm(str(tiny_llama), backend="transformers", adapter=None, max_tokens=1),
        "load_private_facts": lambda: [FACT],
        "kept_answers": answer_all,
        "LEAK": adapter,
        "inputs_hash": lambda: "",
    }.items():
        monkeypatch.setattr(subject, name, stand_in)
    found = subject.study(Console(quiet=True))
    assert (found["n"], found["pairs"], found["barred_pairs"]) == (1, len(ROLES), len(ROLES) - 1)
    assert found["readers"]["told"]["n"] == 1
    assert found["rag"]["answers"]["count"] == 0
    assert json.loads(json.dumps(found)) == found
    assert subject.table(found).row_count == 12


AGAIN = "run: workshop bench leak --json data/results/leak.json"


def test_the_stored_study_is_up_to_date() -> None:
    path = data_dir() / "results" / "leak.json"
    assert (LEAK / WEIGHTS).exists(), "run: workshop train leak"
    assert path.exists(), AGAIN
    stored = json.loads(path.read_text("utf-8"))
    assert stored["inputs"] == subject.inputs_hash(), AGAIN
    assert stored["barred_pairs"] > 10 * stored["n"], AGAIN
    assert stored["verdict"] == subject.verdict(stored), AGAIN
