"""The study of taught facts: its scoring on answers made by hand, its rules, and that the stored one is of today."""

from __future__ import annotations

import json
import math
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.tiny import HashEmbedder, save_lora
from workshop_utils.corpus import data_dir, load_documents, load_questions
from workshop_utils.corpus.facts import Fact, Later, load_facts, load_unseen_facts
from workshop_utils.evaluation.answering import answer_all
from workshop_utils.evaluation.studies import facts as subject
from workshop_utils.evaluation.studies.facts import Asked
from workshop_utils.models import load_llm
from workshop_utils.models.adapters import FACTS
from workshop_utils.models.transformers_chat import WEIGHTS
from workshop_utils.tuning.run import REPORT

QUESTIONS = load_questions("dev", kinds=["single"])[:4]
FACT = load_facts()[0]


def fact(number: int, answer: str, later: Later | None = None) -> Fact:
    return replace(FACT, id=f"F{number}", family=f"F{number}", answer=answer, accept=(), later=later)


def asked(number: int, answer: str) -> Asked:
    return Asked(replace(QUESTIONS[number], family=f"F{number}"), fact(number, answer))


TAUGHT = [asked(0, "7 days"), asked(1, "9 days")]
POOLS = {
    "seen": TAUGHT,
    "paraphrase": TAUGHT,
    "unseen": [asked(2, "11 days"), asked(3, "9 days")],
    "unanswerable": [Asked(replace(QUESTIONS[2], family="U"), None), Asked(replace(QUESTIONS[3], family="V"), None)],
}


def figures(**answers: list[str]) -> dict[str, Any]:
    silent = {pool: ["I do not know.", "I do not know."] for pool in subject.POOLS}
    facts = [one.fact for one in TAUGHT if one.fact]
    return subject.arm_figures("by hand", POOLS, silent | answers, facts)


def test_a_right_answer_is_recalled_whatever_surrounds_it() -> None:
    found = figures(seen=["It is 7 days.", "8 days"])
    assert (found["recall"]["seen"]["count"], found["recall"]["seen"]["n"]) == (1, 2)
    assert found["recall"]["paraphrase"]["count"] == 0


def test_what_was_never_taught_is_right_withheld_or_wrong() -> None:
    found = figures(unseen=["11 days", "I do not know."])["unseen"]
    assert {name: figure["count"] for name, figure in found.items()} == {"right": 1, "abstained": 1, "wrong": 0}
    found = figures(unseen=["12 days", "14 days"])["unseen"]
    assert {name: figure["count"] for name, figure in found.items()} == {"right": 0, "abstained": 0, "wrong": 2}


def test_a_wrong_answer_that_is_another_facts_is_borrowed() -> None:
    assert figures(unseen=["7 days", "14 days"])["borrowed"]["count"] == 1
    # right for this question as well
    assert figures(unseen=["11 days", "9 days"])["borrowed"]["count"] == 0


def test_an_answer_where_there_is_none_is_invented_and_silence_where_there_is_one_needless() -> None:
    found = figures(unanswerable=["3 kg", "I do not know."], paraphrase=["7 days", "I do not know."])
    assert (found["unanswerable"]["wrong"]["count"], found["unanswerable"]["abstained"]["count"]) == (1, 1)
    assert found["needless"]["count"] == 1


def test_confidence_is_of_answers_to_what_was_not_trained_on_and_silence_has_none() -> None:
    answers = {
        "seen": ["7 days", "9 days"],
        "paraphrase": ["7 days", "10 days"],
        "unseen": ["I do not know.", "14 days"],
        "unanswerable": ["3 kg", "I do not know."],
    }
    logprobs = {
        "seen": [0.0, 0.0],
        "paraphrase": [-0.1, -0.5],
        "unseen": [-9.0, -0.05],
        "unanswerable": [-2.0, -9.0],
    }
    found = subject.confidence(POOLS, answers, logprobs)
    assert (found["right"], found["wrong"]) == ([-0.1], [-0.5, -0.05, -2])
    assert found["auc"] == pytest.approx(2 / 3)
    assert found["wrong_mean"]["value"] == pytest.approx(-0.85)
    silent = {pool: ["I do not know."] * 2 for pool in subject.POOLS}
    assert subject.confidence(POOLS, silent, logprobs)["right_mean"] is None


def test_a_stage_tells_changed_facts_from_the_others() -> None:
    later = Later("2026-01-08", "16 days", ())
    facts = [fact(0, "13 days", later), fact(1, "14 days", later), fact(2, "15 days"), fact(3, "17 days")]
    found = subject.stage_figures("by hand", facts, ["13 days", "16 days", "15 days", "16 days"])
    assert {name: found[name]["count"] for name in ("current", "stale", "abstained", "wrong")} == {
        "current": 1,
        "stale": 1,
        "abstained": 0,
        "wrong": 0,
    }
    assert (found["others"]["count"], found["others"]["n"]) == (1, 2)


def test_perplexity_turns_the_bounds_of_a_log_probability_round() -> None:
    found = subject._perplexity({"value": -2.0, "low": -3.0, "high": -1.0, "n": 5})
    assert found == {"value": math.exp(2), "low": math.exp(1), "high": math.exp(3), "n": 5}


def test_the_text_is_that_of_the_facts_and_the_rest_of_other_families() -> None:
    own, other = subject.own_documents(), subject.other_documents()
    assert {document.id for document in own} == {one.source for one in load_facts()}
    held_out = {source for question in load_questions("test") for source in question.sources}
    assert len(other) == subject.OTHER_DOCUMENTS
    assert not {document.id for document in other} & (held_out | {document.id for document in own})


def figure(low: float, high: float) -> dict[str, float]:
    return {"value": (low + high) / 2, "low": low, "high": high, "n": 60}


def result() -> dict[str, Any]:
    """As if tuning stored facts from questions only, and updates were hard."""
    none, much = figure(-0.05, 0.05), figure(0.3, 0.5)
    return {
        "arms": {"both": {"prompt_tokens": figure(50, 50)}, "rag": {"prompt_tokens": figure(300, 300)}},
        "differences": {
            "both_minus_base_paraphrase": much,
            "prose_minus_base_paraphrase": none,
            "prose_minus_base_choice": none,
            "rag_minus_both_paraphrase": much,
        },
        "form": {"perplexity": {"other": {"ratio": figure(0.7, 0.8)}}},
        "changed": {
            "stages": {"untouched": {"stale": figure(0.8, 1.0)}, "changed_only": {"stale": figure(0.0, 0.1)}},
            "others_lost": figure(0.2, 0.4),
        },
    }


def verdict(claim: str, path: str | None = None, found: Any = None) -> str:
    changed = deepcopy(result())
    if path:
        *parents, last = path.split("/")
        place = changed
        for key in parents:
            place = place[key]
        place[last] = found
    return subject.verdicts(changed)[claim]["verdict"]


def test_facts_are_stored_when_paraphrases_are_answered_and_from_text_too_or_not() -> None:
    gain = "differences/both_minus_base_paraphrase"
    assert verdict("F+1") == "holds only when"
    assert verdict("F+1", "differences/prose_minus_base_choice", figure(0.2, 0.4)) == "holds"
    assert verdict("F+1", gain, figure(-0.02, 0.05)) == "does not hold here"
    assert verdict("F+1", gain, figure(0.05, 0.3)) == "not decidable here"


def test_a_short_prompt_counts_where_the_answers_are_as_good() -> None:
    behind = "differences/rag_minus_both_paraphrase"
    assert verdict("F+4") == "holds only when"
    assert verdict("F+4", behind, figure(-0.1, 0.05)) == "holds"
    assert verdict("F+4", behind, figure(-0.1, 0.3)) == "not decidable here"
    assert verdict("F+4", "arms/rag/prompt_tokens", figure(60, 60)) == "does not hold here"


def test_updates_are_hard_when_answers_stay_stale_and_repair_harms() -> None:
    assert verdict("F-3") == "holds"
    assert verdict("F-3", "changed/others_lost", figure(-0.02, 0.05)) == "holds only when"
    assert verdict("F-3", "changed/stages/untouched/stale", figure(0.1, 0.3)) == "does not hold here"
    assert verdict("F-3", "changed/stages/untouched/stale", figure(0.4, 0.7)) == "not decidable here"


def test_the_whole_study_on_a_tiny_model(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every figure is there, and what retrieval brings is read by the reader and by nobody else."""
    adapter = save_lora(tmp_path / "lora", tiny_llama)
    report = {"seconds": 1.0, "tokens": 2, "examples": 3, "settings": {"epochs": 4}}
    (adapter / REPORT).write_text(json.dumps(report), "utf-8")
    taught, unseen, documents = load_facts()[:3], load_unseen_facts()[:3], load_documents()[:2]
    pools = {pool: asked[:3] for pool, asked in subject.load_pools().items()}

    def load(**options: Any) -> Any:
        return load_llm(str(tiny_llama), backend="transformers", adapter=None, max_tokens=2 if options else 1)

    for name, stand_in in {
        "load_facts": lambda: taught,
        "load_unseen_facts": lambda: unseen,
        "load_pools": lambda: pools,
        "load_documents": lambda: documents,
        "load_updates": list,
        "own_documents": lambda: documents[:1],
        "other_documents": lambda: documents[1:],
        "load_llm": load,
        "load_embedder": HashEmbedder,
        "kept_run": lambda *_, **__: (adapter, report),
        "kept_answers": answer_all,
        "FACTS": adapter,
        "inputs_hash": lambda: "",
    }.items():
        monkeypatch.setattr(subject, name, stand_in)
    found = subject.study(Console(quiet=True))
    assert set(found["arms"]) == set(subject.ARMS)
    assert found["arms"]["base"]["training"] is None
    assert found["arms"]["seen"]["training"]["epochs"] == 4
    assert found["arms"]["rag"]["prompt_tokens"]["value"] > 3 * found["arms"]["both"]["prompt_tokens"]["value"]
    assert found["form"]["perplexity"]["own"]["ratio"]["value"] != 1
    assert (found["n"], found["n_unseen"], found["n_unanswerable"]) == (3, 3, 3)
    assert json.loads(json.dumps(found)) == found
    assert subject.table(found).row_count > 10


AGAIN = "run: workshop bench facts --json data/results/facts.json"


def test_the_stored_study_is_up_to_date() -> None:
    path = data_dir() / "results" / "facts.json"
    assert (FACTS / WEIGHTS).exists(), "run: workshop train facts"
    assert path.exists(), AGAIN
    stored = json.loads(path.read_text("utf-8"))
    assert stored["inputs"] == subject.inputs_hash(), AGAIN
    assert stored["verdicts"] == subject.verdicts(stored), AGAIN
