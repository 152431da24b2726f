"""The sweep of RAFT's recipe: every run trained as it says, aims told by code, and the stored one is of today."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from rich.console import Console

from tests.evaluation.compare.conftest import document, question
from tests.tiny import HashEmbedder, save_lora
from workshop_utils.corpus import Question, data_dir, load_documents, load_questions, split_documents
from workshop_utils.evaluation.compare import asking
from workshop_utils.evaluation.compare.arms import Arm
from workshop_utils.evaluation.compare.asking import Asked
from workshop_utils.evaluation.studies import raft as subject
from workshop_utils.evaluation.studies.raft import AIMS, RUNS
from workshop_utils.models import load_llm
from workshop_utils.models.adapters import READER
from workshop_utils.models.transformers_chat import ChatTransformers
from workshop_utils.rag.prompt import Prompt
from workshop_utils.rag.prompts import READER_PROMPT
from workshop_utils.retrieval.rankings import hybrid_rankings
from workshop_utils.tuning.raft import RECIPE, Recipe

AGAIN = "run: workshop bench raft --json data/results/raft.json"


def test_the_sweep_changes_one_thing_at_a_time_around_the_recipe() -> None:
    for run in RUNS.values():
        changed = [
            run.recipe.passages != RECIPE.passages,
            run.recipe.share_without != RECIPE.share_without,
            not run.from_reader,
        ]
        assert sum(changed) <= 1
    assert any(run.recipe == RECIPE and run.from_reader for run in RUNS.values())


def row(correct: float, needless: float) -> dict[str, Any]:
    def figure(value: float) -> dict[str, float]:
        return {"value": value, "low": value - 0.05, "high": value + 0.05, "n": 100}

    others = {name: figure(1.0) for name in AIMS}
    return {**others, "correct": figure(correct), "false_abstention": figure(needless)}


@pytest.mark.parametrize(
    ("correct", "needless", "reached", "surely"),
    [
        (0.80, 0.02, (True, True), (True, True)),
        (0.72, 0.08, (True, True), (False, False)),
        (0.6, 0.2, *[(False,) * 2] * 2),
    ],
)
def test_aims_are_told_by_value_and_by_interval(
    correct: float, needless: float, reached: tuple[bool, bool], surely: tuple[bool, bool]
) -> None:
    told = subject.aims(row(correct, needless))
    assert (told["correct"]["reached"], told["false_abstention"]["reached"]) == reached
    assert (told["correct"]["surely"], told["false_abstention"]["surely"]) == surely


def test_the_whole_study_on_a_tiny_model(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [question(0), question(1), question(2), question(3, "unanswerable")]
    reader, raft = (save_lora(tmp_path / name, tiny_llama, seed=seed) for seed, name in enumerate(("reader", "raft")))
    trained: list[tuple[Recipe, int | None, Path | None]] = []

    def rankings(questions: list[Question]) -> list[list[Document]]:
        return hybrid_rankings(questions, split_documents([document(n) for n in range(7)], 60), HashEmbedder(), 5)

    def kept_run(rows: Any, settings: Any, *, start_from: Path | None) -> tuple[Path, dict[str, Any]]:
        trained.append((*rows, start_from))
        assert settings == subject.ONE_PASS
        return raft, {"seconds": 60.0}

    monkeypatch.setenv("WORKSHOP_CACHE", str(tmp_path))
    for name, stand_in in {
        "_questions": lambda: asked,
        "_rankings": rankings,
        "raft_rows": lambda recipe, n: (recipe, n),
        "kept_run": kept_run,
        "READER": reader,
        "RAFT": raft,
        "inputs_hash": lambda: "hash",
        "load_llm": lambda **_: load_llm(str(tiny_llama), backend="transformers", adapter=None, max_tokens=2),
    }.items():
        monkeypatch.setattr(subject, name, stand_in)
    result = subject.study(Console(quiet=True))
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert [(recipe, start) for recipe, _, start in trained] == [
        (run.recipe, reader if run.from_reader else None) for run in RUNS.values()
    ]
    assert {n for _, n, _ in trained} == {subject.EXAMPLES}
    assert (result["n"], result["n_unanswerable"]) == (3, 1)
    # one passage holds the evidence less often than five
    assert result["sweep"]["passages_1"]["given"]["value"] <= result["sweep"]["passages_5"]["given"]["value"] == 1
    assert subject.table(result).row_count == len(RUNS) + 2 + len(AIMS)


def test_each_adapter_answers_for_itself_and_the_gain_is_over_the_reader(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, raft, run = (save_lora(tmp_path / name, tiny_llama) for name in ("reader", "raft", "run"))
    # what is found for the third holds no evidence
    asked = [question(0), question(1), question(2), question(3, "unanswerable")]
    found = {0: 0, 1: 1, 2: 9, 3: 3}
    says = {
        reader: ["[1] 7 minutes", "not in the documents", "[1] 7 minutes", "[1] 7 minutes"],
        raft: ["[1] 100 minutes", "[2] 101 minutes", "not in the documents", "not in the documents"],
        run: ["[1] 100 minutes", "[1] 7 minutes", "[1] 7 minutes", "[1] 7 minutes"],
    }

    def rankings(questions: list[Question]) -> list[list[Document]]:
        return [split_documents([document(found[n])], 60) for n, _ in enumerate(questions)]

    def ask(arm: Arm, prompt: Prompt, questions: list[Question], found: Any, llm: ChatTransformers, **_: Any) -> Asked:
        assert llm.adapter == arm.adapter
        assert prompt == READER_PROMPT
        assert llm.adapter is not None
        shown = tuple(tuple(found[one.id][: arm.k]) for one in questions)
        return Asked(tuple(questions), shown, ((),) * 4, tuple(says[llm.adapter]), (None,) * 4, 0.0)

    for name, stand_in in {
        "_questions": lambda: asked,
        "_rankings": rankings,
        "raft_rows": lambda *_: [],
        "kept_run": lambda *_, **__: (run, {"seconds": 60.0}),
        "READER": reader,
        "RAFT": raft,
        "inputs_hash": lambda: "hash",
        "load_llm": lambda **_: load_llm(str(tiny_llama), backend="transformers", adapter=None, max_tokens=2),
    }.items():
        monkeypatch.setattr(subject, name, stand_in)
    monkeypatch.setattr(asking, "ask", ask)
    result = subject.study(Console(quiet=True))
    values = {name: figure["value"] for name, figure in result["raft"].items()}
    assert values == pytest.approx(
        {
            "correct": 2 / 3,
            "given": 2 / 3,
            "correct_given": 1,
            "cited": 1 / 3,
            "citation_precision": 1 / 2,
            "abstained": 1,
            "false_abstention": 1 / 3,
        }
    )
    assert result["reader"]["correct"]["value"] == 0
    assert result["reader"]["false_abstention"]["value"] == pytest.approx(1 / 3)
    assert result["gain"]["value"] == pytest.approx(2 / 3)
    for row in result["sweep"].values():
        assert (row["correct"]["value"], row["correct_given"]["value"]) == pytest.approx((1 / 3, 1 / 2))


def test_the_hash_follows_questions_documents_and_adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = [subject.inputs_hash()]
    dev, train, documents = subject._questions(), load_questions("train"), load_documents()
    for name, stand_in in {
        "_questions": lambda: dev[1:],
        "load_questions": lambda *_, **__: train[1:],
        "load_documents": lambda: documents[1:],
        "weights_hash": lambda _: "another",
        "EXAMPLES": 1,
        "RUNS": {},
    }.items():
        with monkeypatch.context() as patched:
            patched.setattr(subject, name, stand_in)
            hashes.append(subject.inputs_hash())
    assert len(set(hashes)) == len(hashes)
    assert subject.inputs_hash() == hashes[0]


def test_both_kinds_are_asked_and_only_those() -> None:
    assert {one.kind for one in subject._questions()} == {"single", "unanswerable"}


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    path = data_dir() / "results" / "raft.json"
    if not path.exists():
        pytest.skip(f"not measured yet; {AGAIN}")
    result: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return result


def test_the_stored_study_is_up_to_date(stored: dict[str, Any]) -> None:
    assert stored["inputs"] == subject.inputs_hash(), AGAIN
    assert stored["aims"] == subject.aims(stored["raft"])
    assert READER.exists()
