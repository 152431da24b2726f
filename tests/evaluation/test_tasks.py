"""Scores of the tasks: the gold answer gets all, each fault costs what it should, and programs are what they seem."""

from __future__ import annotations

import json
from statistics import mean
from typing import Any

import pytest

from workshop_utils.corpus.tickets import TicketRecord
from workshop_utils.evaluation.house_style import check_style
from workshop_utils.evaluation.tasks import (
    FIELDS,
    abbreviated_text,
    cohen_kappa,
    glossary,
    glossary_text,
    jargon_scores,
    keyword_record,
    label_agreement,
    load_labelled,
    notes_scores,
    parse_fields,
    parse_record,
    record_scores,
    style_scores,
    task_scores,
    template_reply,
)
from workshop_utils.tuning.tasks import TASKS, Task, record_json, task_items

RECORD = TicketRecord("Tilvo S", "T-41", "alarm", 3, "advice")
GOLD = record_json(RECORD)


def changed(**values: Any) -> str:
    return json.dumps({**json.loads(GOLD), **values})


@pytest.mark.parametrize("text", [GOLD, f"Here it is:\n```json\n{GOLD}\n```\nI hope it helps.", f"{{not}} {GOLD} {{}}"])
def test_a_record_is_found_in_the_text_around_it(text: str) -> None:
    assert parse_record(text) == RECORD


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no record",
        "[1, 2]",
        GOLD[:-1],
        "{" * 10_000,
        changed(device="Sorvane 5"),
        changed(severity="3"),
        changed(severity=True),
        changed(severity=3.0),
        changed(category=["alarm"]),
        changed(error_code="41"),
        changed(error_code=41),
        '{"device": "Tilvo S"}',
    ],
)
def test_what_is_no_record_is_none(text: str) -> None:
    assert parse_record(text) is None


def test_fields_are_read_where_others_are_wrong() -> None:
    fields = parse_fields(f"Sure! {changed(device='Sorvane 5')}")
    assert fields is not None
    assert fields["action"] == "advice"


# nurses keep the habits that make a note less strictly: see below
@pytest.mark.parametrize("task", [task for task in TASKS if task != "notes"])
def test_the_gold_answers_get_every_score(task: Task) -> None:
    items = task_items(task, "dev")
    rows = task_scores(task, [item.answer for item in items], items)
    assert len(rows) == len(items)
    assert {name: mean(row[name] for row in rows) for name in rows[0]} == dict.fromkeys(rows[0], 1.0)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("answer", ["", "ok", "{", "I can't help with that."])
def test_anything_can_be_scored_and_nothing_earns_nothing(task: Task, answer: str) -> None:
    items = task_items(task, "dev", 2)
    for row in task_scores(task, [answer, answer], items):
        assert all(0 <= value <= 1 for value in row.values())
        assert min(row.values()) == 0
    if task != "style" and not answer:
        assert set(task_scores(task, [answer], items[:1])[0].values()) == {0.0}


@pytest.mark.parametrize(
    ("answer", "lost"),
    [
        (f"Record: {GOLD}", {"valid_json"}),
        (changed(device="Sorvane 2"), {"device", "extraction"}),
        (changed(error_code=None), {"error_code", "extraction"}),
        (changed(category="power"), {"category", "triage"}),
        (changed(severity=4), {"severity", "triage"}),
        (changed(action="visit"), {"action", "triage"}),
        (changed(severity="3"), {"severity", "triage", "valid_json"}),
        (changed(severity=3.0), {"severity", "triage", "valid_json"}),
        (changed(note="urgent"), {"valid_json"}),
    ],
)
def test_each_fault_costs_its_own_score(answer: str, lost: set[str]) -> None:
    scores = record_scores(answer, RECORD)
    means = {"fields", "all_fields"} if lost & set(FIELDS) else set()
    assert {name for name, value in scores.items() if value < 1} == lost | means
    assert scores["fields"] == (0.8 if means else 1.0)


def test_a_missing_null_is_not_a_right_null() -> None:
    gold = TicketRecord("Tilvo S", None, "alarm", 3, "advice")
    assert record_scores('{"device": "Tilvo S"}', gold)["error_code"] == 0
    assert record_scores(record_json(gold), gold)["error_code"] == 1


def test_a_reply_to_another_message_keeps_form_and_loses_content() -> None:
    one, two = task_items("style", "dev", 2)
    scores = style_scores(two.answer, one.text, one.answer)
    assert scores["rules"] >= 10 / 12
    assert scores["content"] < 0.4
    assert scores["reference"] == 0


def test_the_template_keeps_the_rules_and_says_the_same_to_everyone() -> None:
    items = task_items("style", "dev")
    rows = task_scores("style", [template_reply(item.text) for item in items], items)
    assert mean(row["rules"] for row in rows) > 0.98
    assert mean(row["content"] for row in rows) < 0.3
    assert mean(row["own"] for row in rows) < 0.3
    assert not all(check_style(template_reply("no header"), "no header").values())


NOTE = "14:20 occl alarm, L FA IV. Inf restarted at 75 mL/h, sat 97%. Pt comfortable, O2 off."
PLAIN = (
    "The pump sounded at 14:20 because your drip line was blocked. It runs again at 75 millilitres an hour. "
    "Your oxygen level is 97 percent, and you are comfortable without extra oxygen."
)


@pytest.mark.parametrize(
    ("old", "new", "lost"),
    [
        ("14:20", "noon", {"figures"}),
        ("14:20", "14:20 and 15:00", {"new_figures"}),
        ("your drip", "the pt's drip", {"abbreviations"}),
        ("oxygen level", "O2 level", {"abbreviations"}),
        ("97 percent", "97%", {"symbols"}),
        ("drip line", "infusion line", {"technical"}),
        ("75 millilitres", "75 mL", {"units"}),
        ("75 millilitres", "75mL", {"units"}),
        (". It runs", " and so it has been put right by one of us, and it runs", {"sentence_length"}),
        (" Your oxygen level is 97 percent, and you are comfortable without extra oxygen.", "", {"figures", "length"}),
    ],
)
def test_each_check_of_plain_language_can_fail(old: str, new: str, lost: set[str]) -> None:
    assert old in PLAIN
    assert jargon_scores(PLAIN, NOTE, PLAIN)["all_checks"] == 1
    scores = jargon_scores(PLAIN.replace(old, new, 1), NOTE, PLAIN)
    assert {name for name, value in scores.items() if value < 1} - {"checks", "all_checks", "f1"} == lost


def test_the_glossary_is_read_whole() -> None:
    assert len(glossary()) >= 45
    assert glossary()["pt"][0] == "you"
    text = glossary_text(NOTE)
    assert text.startswith("14:20 blocked line alarm, left forearm drip.")
    assert "75 millilitres an hour" in text
    assert "97 percent" in text
    assert glossary_text("5 mg q6h x2, 2 mcg/min, BP 92/54") == (
        "5 milligrams every 6 hours 2 times, 2 micrograms a minute, blood pressure 92 over 54"
    )


def test_keywords_find_device_code_and_last_wish() -> None:
    text = "The syringe driver shows T-41 and beeps. We first asked for a repair, now we want it replaced."
    assert keyword_record(text) == TicketRecord("Tilvo S", "T-41", "alarm", 3, "replace")
    assert keyword_record("hello").error_code is None


def test_the_labelled_replies_are_forty_with_every_rule() -> None:
    labelled = load_labelled()
    messages = {item.text for item in task_items("style", "train")}
    assert len(labelled) == len({one.id for one in labelled}) == 40
    for one in labelled:
        assert list(one.labels) == list(check_style(one.reply, one.text)), one.id
        assert one.text in messages
    origins = {one.origin for one in labelled}
    assert origins == {"gold", "base", "few-shot", "broken"}
    for rule in labelled[0].labels:
        broken = sum(not one.labels[rule] for one in labelled)
        assert 2 <= broken <= 38, rule


def test_agreement_counts_what_differs() -> None:
    labelled = load_labelled()
    found = label_agreement(labelled)
    n = len(labelled) * 12
    assert found["agreement"] == pytest.approx(1 - len(found["faults"]) / n)
    assert mean(found["right"]) == pytest.approx(found["agreement"])
    assert found["kappa"] > 0.8
    assert sum(rule["kept"] for rule in found["rules"].values()) == sum(sum(one.labels.values()) for one in labelled)


def test_kappa_is_agreement_beyond_chance() -> None:
    # Cohen's own form: 50 judgements, 20 both yes, 15 both no, 5 and 10 apart: (0.7 - 0.5) / (1 - 0.5)
    pairs = [(True, True)] * 20 + [(False, False)] * 15 + [(True, False)] * 5 + [(False, True)] * 10
    assert cohen_kappa(pairs) == pytest.approx(0.4)
    assert cohen_kappa([(True, True)] * 3) is None


@pytest.mark.parametrize(
    ("old", "new", "lost"),
    [
        ("14:20", "noon", {"figures"}),
        ("14:20", "14:20, again 15:00", {"new_figures"}),
        (
            "Pt comfortable",
            "Pt comfortable, slept, ate, drank, walked to window and back, had visitors, said all was fine",
            {"short"},
        ),
        ("occl alarm", "the occl alarm", {"bare"}),
        ("75 mL/h", "75 millilitres an hour", {"units", "bare"}),
        ("14:20 occl alarm, L FA IV. Inf restarted", "14:20 blocked, restarted", {"abbreviations"}),
    ],
)
def test_each_check_of_a_note_can_fail(old: str, new: str, lost: set[str]) -> None:
    note = NOTE.replace("sat 97%. Pt comfortable, O2 off.", "97%. Pt comfortable.")
    if "abbreviations" in lost:
        note = note.replace("Pt comfortable", "Comfortable")
    assert old in note
    assert notes_scores(note, PLAIN, note)["figures"] == 1
    before, after = notes_scores(note, PLAIN, note), notes_scores(note.replace(old, new, 1), PLAIN, note)
    assert before["all_checks"] == 1
    assert {name for name, value in after.items() if value < 1} - {"checks", "all_checks", "f1"} == lost
    assert not any(notes_scores("", PLAIN, note)[name] for name in ("figures", "short", "bare", "checks"))


def test_desks_own_notes_keep_the_checks_and_a_program_makes_them_too_long() -> None:
    items = task_items("notes", "dev")
    gold = task_scores("notes", [item.answer for item in items], items)
    program = task_scores("notes", [abbreviated_text(item.text) for item in items], items)
    for name in ("figures", "new_figures", "short", "bare", "units", "abbreviations"):
        assert mean(row[name] for row in gold) >= 0.95, name
    assert mean(row["units"] for row in program) == 1
    assert mean(row["short"] for row in program) < 0.5
