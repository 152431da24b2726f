"""The study of the tasks: fair prompts, verdicts by rule, a run in small, and stored figures that are up to date."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.tiny import HashEmbedder, save_llama, save_lora
from workshop_utils.corpus import data_dir
from workshop_utils.evaluation.answering import answer_all
from workshop_utils.evaluation.studies import tasks as study
from workshop_utils.evaluation.tasks import label_agreement, load_labelled, task_scores
from workshop_utils.models import device
from workshop_utils.models.transformers_chat import ChatTransformers, Engine
from workshop_utils.tuning import tasks as tuning_tasks
from workshop_utils.tuning.tasks import TASKS, task_items, task_prompt


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    result: dict[str, Any] = json.loads((data_dir() / "results" / "tasks.json").read_text("utf-8"))
    return result


def figure(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high, "n": 100}


@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        (figure(0.3, 0.2, 0.4), "holds"),
        (figure(0.05, 0.01, 0.1), "holds"),
        (figure(0.04, 0.01, 0.07), "not decidable here"),
        (figure(0.2, -0.01, 0.4), "not decidable here"),
        (figure(0.02, 0.01, 0.04), "does not hold here"),
        (figure(-0.2, -0.3, -0.1), "does not hold here"),
    ],
)
def test_a_difference_decides_by_rule(difference: dict[str, float], expected: str) -> None:
    assert study.part(difference) == expected


def test_parts_that_differ_are_named() -> None:
    rows = [
        {"task": "triage", "score": "triage", "against": "rival", "verdict": "holds"},
        {"task": "jargon", "score": "f1", "against": "glossary", "verdict": "not decidable here"},
    ]
    assert study.together(rows) == "holds only when measured by triage, triage, against the better prompting"
    assert study.together(rows[:1]) == "holds"
    assert study.together([{**rows[0], "verdict": "does not hold here"}, rows[1]]) == "not decidable here"


def test_worked_examples_are_of_other_scenarios_and_the_most_similar_comes_last() -> None:
    items, pool = task_items("style", "dev", 3), task_items("style", "train")
    pool.sort(key=lambda item: item.scenario)
    embedder = HashEmbedder()
    prompts = study.shot_prompts("style", items, pool, embedder, {"few_shot": 4, "nearest": 2})
    by_text = {task_prompt("style", item.text)[1].content: item for item in pool}
    for item, fixed, near in zip(items, prompts["few_shot"], prompts["nearest"], strict=True):
        shown = [by_text[message.content] for message in fixed[1:-1:2]]
        assert len({shot.scenario for shot in shown}) == len(shown) == 4
        assert item.scenario not in {shot.scenario for shot in shown}
        similar = sorted(
            pool,
            key=lambda other: (
                -sum(
                    a * b
                    for a, b in zip(embedder.embed_query(item.text), embedder.embed_query(other.text), strict=True)
                )
            ),
        )
        assert [by_text[message.content] for message in near[1:-1:2]] == similar[:2][::-1]
        assert fixed[-1] == near[-1] == task_prompt("style", item.text)[-1]


def test_programs_answer_without_looking_at_the_gold_record() -> None:
    train, items = task_items("triage", "train", 300), task_items("triage", "dev", 20)
    blank = [tuning_tasks.Item(item.id, item.scenario, item.text, "") for item in items]
    answers = study.programs("triage", blank, train, HashEmbedder())
    assert set(answers) == {"majority", "keywords", "copier", "classifier"}
    for rows in answers.values():
        scores = task_scores("triage", rows, items)
        assert all(row["valid_json"] for row in scores)
    assert len(set(answers["majority"])) == 1


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ChatTransformers:
    """The study's settings and models, all tiny."""
    monkeypatch.setenv("WORKSHOP_DTYPE", "float32")
    base = save_llama(tmp_path / "base")
    for task in TASKS:
        save_lora(tmp_path / "adapters" / task, base)
    llm = ChatTransformers(engine=Engine.load(str(base), device.choose(), local=True))
    monkeypatch.setattr(study, "load_llm", lambda **_: llm)
    monkeypatch.setattr(study, "load_embedder", HashEmbedder)
    monkeypatch.setattr(study, "kept_answers", answer_all)
    monkeypatch.setattr(study, "ADAPTERS", tmp_path / "adapters")
    monkeypatch.setattr(study, "SHOTS", (1, 2))
    monkeypatch.setattr(study, "TIMED", 3)
    for name, size in (("ASKED", 4), ("HELD_OUT", 2), ("MAX_TOKENS", 3)):
        monkeypatch.setattr(study, name, dict.fromkeys(TASKS, size))
    monkeypatch.setattr(tuning_tasks, "GUIDES", dict.fromkeys(TASKS, "Rules."))
    return llm


def test_the_whole_study_in_small(small: ChatTransformers) -> None:
    result = study.study(Console(quiet=True))
    json.dumps(result, allow_nan=False)
    study.table(result)
    for task in TASKS:
        arms = result["tasks"][task]["arms"]
        assert {"base", "few_shot", "nearest", "adapter"} <= set(arms)
        assert arms["adapter"]["prompt_tokens"]["value"] < arms["base"]["prompt_tokens"]["value"]
        assert arms["few_shot"]["prompt_tokens"]["value"] > arms["base"]["prompt_tokens"]["value"]
        rival = result["tasks"][task]["rival"]
        assert (
            result["tasks"][task]["differences"]["adapter-rival"]
            == (result["tasks"][task]["differences"][f"adapter-{rival}"])
        )
    assert set(result["verdicts"]) == {"F0", "F+2", "F+3", "FU1", "FU2", "FU3", "FU4"}
    assert small.adapter is None


def test_the_stored_study_is_up_to_date(stored: dict[str, Any]) -> None:
    assert stored["inputs"] == study.inputs_hash(), "run: workshop bench tasks --json data/results/tasks.json"
    assert stored["verdicts"] == study.verdicts(stored)


def test_the_stored_agreement_is_that_of_the_labels(stored: dict[str, Any]) -> None:
    found = label_agreement(load_labelled())
    assert stored["agreement"]["agreement"]["value"] == pytest.approx(found["agreement"])
    assert stored["agreement"]["kappa"] == pytest.approx(found["kappa"])
    assert stored["agreement"]["faults"] == found["faults"]
