"""The hash of what a comparison depends on: it changes with what counts and with nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.compare.conftest import document, question
from workshop_utils.corpus import data_dir, load_questions
from workshop_utils.evaluation.compare import revision
from workshop_utils.evaluation.compare.arms import ARMS, Arm
from workshop_utils.evaluation.compare.final import held_out
from workshop_utils.evaluation.compare.material import Material, company
from workshop_utils.evaluation.compare.revision import CODE, PACKAGE, code_of, inputs_hash

CHANGES: dict[str, Callable[[Material, dict[str, Arm]], tuple[Material, dict[str, Arm]]]] = {
    "questions": lambda m, a: (replace(m, questions=m.questions[1:]), a),
    "documents": lambda m, a: (replace(m, documents=(*m.documents[1:], document(0, 7))), a),
    "examples": lambda m, a: (replace(m, examples=(question(40),)), a),
    "updates": lambda m, a: (replace(m, later=None), a),
    "prompts": lambda m, a: (m, {**a, "rag": replace(a["rag"], prompt=replace(a["rag"].prompt, instruction="Look."))}),
    "passages": lambda m, a: (m, {**a, "rag": replace(a["rag"], k=2)}),
    "adapters": lambda m, a: (m, {**a, "raft_rag": replace(a["raft_rag"], adapter=a["reader_rag"].adapter)}),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_hash_follows_what_counts(what: str, material: Material, arms: dict[str, Arm]) -> None:
    before = inputs_hash(material, arms)
    assert inputs_hash(*CHANGES[what](material, arms)) != before
    assert inputs_hash(material, arms) == before


def test_the_hash_follows_the_code(
    material: Material, arms: dict[str, Arm], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in CODE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((PACKAGE / name).read_text("utf-8"), "utf-8")
    before = inputs_hash(material, arms)
    monkeypatch.setattr(revision, "PACKAGE", tmp_path)
    assert inputs_hash(material, arms) == before
    scoring = tmp_path / "evaluation" / "compare" / "scoring.py"
    text = scoring.read_text("utf-8")
    scoring.write_text(f'"""Another docstring."""\n# and a comment\n{text}', "utf-8")
    assert inputs_hash(material, arms) == before
    scoring.write_text(text.replace("FEW_WORDS = 12", "FEW_WORDS = 13"), "utf-8")
    assert inputs_hash(material, arms) != before


def test_the_hash_is_the_same_wherever_the_adapters_lie(
    material: Material, arms: dict[str, Arm], tmp_path: Path
) -> None:
    import shutil

    moved = {
        key: replace(arm, adapter=arm.adapter and Path(shutil.copytree(arm.adapter, tmp_path / f"moved-{key}")))
        for key, arm in arms.items()
    }
    assert inputs_hash(material, moved) == inputs_hash(material, arms)


def test_code_is_what_is_left_without_its_description(tmp_path: Path) -> None:
    path = tmp_path / "code.py"
    path.write_text(
        '"""What it is.\n\nIn full.\n"""\n\nA = "# kept"  # gone\n\n\ndef f() -> str:\n    """Gone."""\n'
        '    return """kept"""\n',
        "utf-8",
    )
    assert code_of(path) == 'A = "# kept"\ndef f() -> str:\n    return """kept"""'


def stored(name: str) -> dict[str, Any]:
    path = data_dir() / "results" / name
    again = f"run: workshop compare {'--final ' if name == 'compare.json' else ''}--json data/results/{name}"
    if not path.exists():
        pytest.skip(f"not measured yet; {again}")
    result: dict[str, Any] = json.loads(path.read_text("utf-8"))
    assert not result["quick"], again
    return {**result, "again": again}


def test_the_stored_comparison_is_up_to_date() -> None:
    result = stored("compare.json")
    assert result["split"] == "test", result["again"]
    assert result["inputs"] == inputs_hash(held_out(), ARMS), result["again"]
    runs = (data_dir() / "results" / "final_runs.jsonl").read_text("utf-8").splitlines()
    assert any(json.loads(line)["inputs"] == result["inputs"] for line in runs), result["again"]


def test_the_stored_comparison_on_the_development_questions_is_up_to_date() -> None:
    result = stored("compare_dev.json")
    assert result["inputs"] == inputs_hash(company("dev", load_questions("dev")), ARMS), result["again"]
