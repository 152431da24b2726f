"""The study of combining: replies and passages scored by hand, the rule, a run in small, the stored figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from rich.console import Console

from tests.tiny import HashEmbedder, save_llama, save_lora
from workshop_utils.corpus import Question, data_dir, load_documents, load_questions, split_documents
from workshop_utils.evaluation.answering import answer_all
from workshop_utils.evaluation.studies import combining as subject
from workshop_utils.models import device
from workshop_utils.models.transformers_chat import ChatTransformers, Engine
from workshop_utils.tuning import tasks as tuning_tasks
from workshop_utils.tuning.tasks import TASKS

QUESTION = replace(
    load_questions("dev", kinds=["single"])[0],
    id="KB-101-q1",
    question="Our pump stops with E-217 after a new set. How long shall we wait?",
    answer="40 seconds",
    accept=("40 s",),
)
NUMBER = subject.message(QUESTION)[1:9]
REPLY = f"""Reference {NUMBER}
Good day,
You report that your pump stops with E-217 after a new set. Please wait for 40 seconds. We regard this as solved.
Next step: you tell us the outcome by 15:00 today.
With regards
Clairval Customer Support, Tarrow"""


def passage(text: str) -> Document:
    return Document(id="A#0", page_content=f"Title > 2. Section\n{text}", metadata={"source": "A"})


def test_a_message_has_a_case_number_of_its_own_that_stays() -> None:
    other = replace(QUESTION, id="KB-101-q2")
    assert subject.message(QUESTION) == subject.message(replace(QUESTION))
    assert subject.message(QUESTION) != subject.message(other)
    assert subject.message(QUESTION).endswith(QUESTION.question)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("[2] 40 seconds", "40 seconds"), ("not in the documents", ""), ("", ""), ("40 s [1]", "40 s")],
)
def test_the_second_pass_gets_the_answer_without_its_citation(answer: str, expected: str) -> None:
    assert subject.bare(answer) == expected
    assert subject.with_answer("Q?", expected) == (f"Q? The answer is {expected}." if expected else "Q?")


def test_a_lost_answer_is_put_back_into_the_body_and_a_kept_one_is_not() -> None:
    lost = REPLY.replace(" Please wait for 40 seconds.", "")
    back = subject.put_back(lost, "40 seconds").split("\n")
    assert back[2].split(". ")[1:] == ["The answer is 40 seconds", "We regard this as solved."]
    assert back[:2] + back[3:] == REPLY.split("\n")[:2] + REPLY.split("\n")[3:]
    assert subject.put_back(REPLY, "40 seconds") == REPLY
    assert subject.put_back(lost, "") == lost
    assert subject.put_back("Hello.", "40 seconds") == "Hello.\nThe answer is 40 seconds."


def test_a_reply_is_scored_for_fact_rules_and_inventions() -> None:
    perfect = subject.reply_scores(REPLY, QUESTION, "wait 40 seconds")
    assert perfect == {"fact": 1, "rules": 1, "all_rules": 1, "both": 1, "invented": 0}
    # the figures of fixed lines do not count, those of the body do
    assert subject.reply_scores(REPLY, QUESTION, "")["invented"] == 1
    wrong = subject.reply_scores(REPLY.replace("40", "90"), QUESTION, "wait 40 seconds")
    assert (wrong["fact"], wrong["both"], wrong["invented"]) == (0, 0, 1)
    short = subject.reply_scores("[1] 40 seconds", QUESTION, "wait 40 seconds")
    assert short["fact"] == 1
    assert short["rules"] < 0.7
    assert short["both"] == short["invented"] == 0


def test_a_bulletin_s_answer_is_today_s_or_that_of_the_first_day() -> None:
    first, now = replace(QUESTION, answer="3 percent", accept=()), replace(QUESTION, answer="5 percent", accept=())
    assert subject.bulletin_scores("[1] 5 percent", first, now) == {"correct": 1, "stale": 0}
    assert subject.bulletin_scores("3 percent", first, now) == {"correct": 0, "stale": 1}
    assert subject.bulletin_scores("not 3 percent but 5 percent", first, now) == {"correct": 1, "stale": 0}
    new = replace(first, answer="not in the documents")
    assert subject.bulletin_scores("not in the documents", new, now) == {"correct": 0, "stale": 0}


def test_a_fact_is_left_in_plain_language_when_its_figures_are() -> None:
    now = replace(QUESTION, answer="9 ml/h", accept=())
    assert subject.plain_scores("It runs at 9 millilitres an hour.", "Rate 9 ml/h.", now)["fact"] == 1
    assert subject.plain_scores("It runs at 19 millilitres an hour.", "Rate 9 ml/h.", now)["fact"] == 0
    words = replace(QUESTION, answer="a nurse", accept=())
    assert subject.plain_scores("Ask a nurse.", "Ask a nurse.", words)["fact"] == 1
    assert subject.plain_scores("Ask somebody.", "Ask a nurse.", words)["fact"] == 0


def test_the_cited_passage_is_said_plainly_and_without_its_heading() -> None:
    passages = [passage("First."), passage("Second.")]
    assert subject.chosen_passage("[2] second", passages) == "Second."
    assert subject.chosen_passage("[7] second", passages) == "First."
    assert subject.chosen_passage("not in the documents", passages) == "First."


def figure(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high, "n": 48}


@pytest.mark.parametrize(
    ("kind", "difference", "families", "expected"),
    [
        ("better", figure(0.3, 0.2, 0.4), 6, "holds"),
        ("better", figure(0.3, 0.2, 0.4), 5, "not decidable here"),
        ("better", figure(-0.3, -0.4, -0.2), 6, "does not hold here"),
        ("kept", figure(0.0, -0.4, 0.4), 6, "holds"),
        ("kept", figure(-0.05, -0.1, -0.01), 6, "holds"),
        ("kept", figure(-0.1, -0.2, 0.0), 6, "not decidable here"),
        ("kept", figure(-0.1, -0.2, -0.01), 6, "does not hold here"),
        ("hurts", figure(-0.1, -0.2, -0.01), 6, "hurts"),
        ("hurts", figure(-0.1, -0.2, 0.01), 6, "not decidable here"),
        ("hurts", figure(-0.01, -0.04, 0.02), 6, "does not hurt"),
        ("hurts", figure(-0.3, -0.4, -0.2), 5, "not decidable here"),
    ],
)
def test_a_difference_is_judged_by_rule(kind: str, difference: dict[str, float], families: int, expected: str) -> None:
    assert subject.judge(kind, difference, families) == expected


YES, NO = figure(0.5, 0.4, 0.6), figure(-0.5, -0.6, -0.4)


def result(families: int = 8, **lost: dict[str, float]) -> dict[str, Any]:
    """Differences that all hold, but for those named ``set__arm__against__score``."""
    found: dict[str, Any] = {name: {"families": families, "differences": {}} for name in subject.MAIN}
    for parts in subject.PARTS.values():
        for where, score, arm, against, _ in parts.values():
            found[where]["differences"].setdefault(f"{arm}-{against}", {})[score] = YES
    for name, changed in lost.items():
        where, arm, against, score = name.split("__")
        found[where]["differences"][f"{arm}-{against}"][score] = changed
    return found


@pytest.mark.parametrize(
    ("lost", "claim", "expected"),
    [
        ({}, "C1", "holds"),
        ({}, "C3", "holds"),
        ({"messages__two_passes__reader__fact": NO}, "C1", "holds only when a program puts back"),
        (
            {"messages__two_passes__reader__fact": NO, "messages__checked__reader__fact": NO},
            "C1",
            "does not hold here",
        ),
        (
            {"messages__two_passes__reader__rules": NO, "messages__checked__reader__rules": NO},
            "C1",
            "does not hold here",
        ),
        ({"facts__style__base__correct": NO}, "C1", "holds"),
        ({"notes__jargon__base__checks": NO}, "C3", "does not hold here"),
        ({"bulletins__living__closed__correct": figure(0.2, -0.1, 0.5)}, "C3", "not decidable here"),
        ({"plain__jargon__passage__fact": NO}, "C3", "holds only when the two are used apart"),
        ({"plain__jargon__base__checks": NO}, "C3", "holds only when the two are used apart"),
    ],
)
def test_the_verdicts_follow_the_rule(lost: dict[str, Any], claim: str, expected: str) -> None:
    assert subject.verdicts(result(**lost))[claim].startswith(expected)


def test_too_few_families_decide_nothing() -> None:
    assert set(subject.verdicts(result(families=5)).values()) == {"not decidable here"}


def test_the_questions_are_drawn_once_and_none_is_held_out() -> None:
    assert subject.fact_questions() == subject.fact_questions()
    asked = subject.support_questions()
    assert len({question.fact for question in asked}) == len(asked) == subject.MESSAGES
    assert len({question.family for question in asked}) >= subject.LEAST_FAMILIES
    held_out = {question.id for question in load_questions("test")}
    assert not held_out & {question.id for question in (*asked, *subject.fact_questions())}


def test_the_whole_study_on_a_tiny_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSHOP_DTYPE", "float32")
    base = save_llama(tmp_path / "base")
    monkeypatch.setenv("WORKSHOP_CACHE", str(tmp_path / "cache"))  # the joined adapter is kept there
    llm = ChatTransformers(engine=Engine.load(str(base), device.choose(), local=True), max_tokens=3)
    documents = load_documents()[:3]

    def found(_: str, questions: Sequence[Question]) -> list[list[Document]]:
        return [split_documents(documents, 8)[:3] for _ in questions]

    first, now, _ = subject.bulletin_questions()
    for name, stand_in in {
        "load_llm": lambda **_: llm,
        "load_embedder": HashEmbedder,
        "kept_answers": answer_all,
        "rank": found,
        "FACTS": 3,
        "MESSAGES": 3,
        "PASSAGE_TOKENS": 8,
        "ASKED": dict.fromkeys(TASKS, 3),
        "MAX_TOKENS": dict.fromkeys(TASKS, 3),
        "bulletin_questions": lambda: (first[:4], now[:4], documents),
        "READER": save_lora(tmp_path / "reader", base),
        "STYLE": save_lora(tmp_path / "style", base, seed=2),
        "JARGON": save_lora(tmp_path / "jargon", base, seed=3),
    }.items():
        monkeypatch.setattr(subject, name, stand_in)
    monkeypatch.setattr(tuning_tasks, "GUIDES", dict.fromkeys(TASKS, "Rules."))
    outcome = subject.study(Console(quiet=True))
    assert json.loads(json.dumps(outcome, allow_nan=False)) == outcome
    assert set(outcome["verdicts"]) == {"C1", "C3"}
    for name, main in subject.MAIN.items():
        assert outcome[name]["n"] == (4 if name in ("bulletins", "plain") else 3)
        assert all(main in row for row in outcome[name]["arms"].values())
    assert subject.table(outcome).row_count > 40


AGAIN = "run: workshop bench combining --json data/results/combining.json"


def test_the_stored_study_is_up_to_date() -> None:
    path = data_dir() / "results" / "combining.json"
    if not path.exists():
        pytest.skip(f"not measured yet; {AGAIN}")
    stored = json.loads(path.read_text("utf-8"))
    assert stored["inputs"] == subject.inputs_hash(), AGAIN
    assert stored["verdicts"] == subject.verdicts(stored), AGAIN
    assert stored["n"] == subject.FACTS, AGAIN
