"""Support tickets: enough of them, records that agree with the text, splits that share nothing."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from workshop_utils.authoring.datasets.tickets import Scenario, Sentences, load_scenarios, load_sentences
from workshop_utils.corpus import data_dir
from workshop_utils.corpus.questions import Split
from workshop_utils.corpus.tickets import ACTIONS, CATEGORIES, DEVICES, SEVERITIES, Ticket, load_tickets

Tickets = dict[Split, list[Ticket]]

STOCK = data_dir() / "tickets" / "stock"
CODE = {
    "Sorvane 4": r"E-\d{3}",
    "Sorvane 2": r"E-\d{3}",
    "Tilvo S": r"T-\d{2}",
    "Quaylink": r"Q-\d{4}",
    "Dosewright": r"Q-\d{4}",
    "Wardboard": r"Q-\d{4}",
}
# tickets whose sets of words overlap by this share tell the same story in the same words
NEAR_DUPLICATE = 0.5


@pytest.fixture(scope="module")
def tickets() -> Tickets:
    return {split: load_tickets(split) for split in ("train", "dev", "test")}


@pytest.fixture(scope="module")
def scenarios() -> list[Scenario]:
    return load_scenarios(STOCK)


@pytest.fixture(scope="module")
def sentences() -> Sentences:
    return load_sentences(STOCK)


def test_enough_tickets_and_every_label(tickets: Tickets) -> None:
    assert len(tickets["train"]) >= 2000
    assert sum(map(len, tickets.values())) >= 2500
    for split, part in tickets.items():
        records = [ticket.record for ticket in part]
        assert {record.device for record in records} == set(DEVICES), split
        assert {record.category for record in records} == set(CATEGORIES), split
        assert {record.severity for record in records} == set(SEVERITIES), split
        assert {record.action for record in records} == set(ACTIONS), split


def test_classes_are_unequal_as_in_life(tickets: Tickets) -> None:
    for field in ("device", "category", "severity", "action"):
        counts = Counter(getattr(ticket.record, field) for ticket in tickets["train"])
        assert max(counts.values()) >= 2 * min(counts.values()), (field, counts)
        assert min(counts.values()) >= 20, (field, counts)


def test_the_code_of_the_record_stands_in_the_text(tickets: Tickets) -> None:
    faults = [
        ticket.id
        for part in tickets.values()
        for ticket in part
        if ticket.record.error_code is not None and ticket.record.error_code not in ticket.text
    ]
    assert not faults


def test_a_record_without_a_code_has_none_that_is_current(tickets: Tickets, sentences: Sentences) -> None:
    """Codes that stand in a remark about something solved are no codes of the ticket."""
    solved = set(re.findall(r"\b[ETQ]-\d{2,4}\b", " ".join(sentences.asides)))
    faults = [
        f"{ticket.id}: {code}"
        for part in tickets.values()
        for ticket in part
        for code in re.findall(r"\b[ETQ]-\d{2,4}\b", ticket.text)
        if code != ticket.record.error_code and code not in solved
    ]
    assert not faults


def test_scenarios_have_labels_codes_and_tellings_that_fit(scenarios: list[Scenario]) -> None:
    faults = []
    for scenario in scenarios:
        codes = [code for code in scenario.codes if code is not None]
        with_code = sum("{code}" in wording for wording in scenario.wordings)
        checks = {
            "device": scenario.device in DEVICES,
            "category": scenario.category in CATEGORIES,
            "severities": set(scenario.severities) <= set(SEVERITIES) and 1 <= len(scenario.severities) <= 4,
            "actions": set(scenario.actions) <= set(ACTIONS) and 1 <= len(scenario.actions) <= 4,
            "four tellings": len(set(scenario.wordings)) == 4,
            "codes of its device": all(re.fullmatch(CODE[scenario.device], code) for code in codes),
            "a telling with the code": not codes or with_code > 0,
            "a telling without": (None not in scenario.codes and bool(scenario.codes)) or with_code < 4,
            "no code without the mark": all(not re.search(r"\b[ETQ]-\d{2,4}\b", w) for w in scenario.wordings),
            "no mark without codes": bool(codes) or with_code == 0,
        }
        faults += [f"{scenario.id}: {name}" for name, kept in checks.items() if not kept]
    assert not faults
    assert len({scenario.id for scenario in scenarios}) == len(scenarios) >= 250


def test_tellings_differ_from_each_other(scenarios: list[Scenario]) -> None:
    """Four people tell it, not one with other words: no two tellings share most of their words."""
    faults = []
    seen: dict[frozenset[str], str] = {}
    for scenario in scenarios:
        sets = [frozenset(re.findall(r"\w+", wording.lower())) for wording in scenario.wordings]
        for place, words in enumerate(sets):
            if any(overlap(words, other) >= NEAR_DUPLICATE for other in sets[place + 1 :]):
                faults.append(f"{scenario.id}: {scenario.wordings[place]}")
            if words in seen:
                faults.append(f"{scenario.id} repeats {seen[words]}")
            seen[words] = scenario.id
    assert not faults


def test_sentences_are_many_and_none_is_repeated(sentences: Sentences) -> None:
    lists = {"openings": sentences.openings, "asides": sentences.asides, "closings": sentences.closings}
    lists |= {
        f"impact {severity} {kind}": part
        for severity, kinds in sentences.impacts.items()
        for kind, part in kinds.items()
    }
    lists |= {f"request {action}": part for action, part in sentences.requests.items()}
    assert {name: len(part) for name, part in lists.items() if len(part) < 35} == {}
    counts = Counter(sentence for part in lists.values() for sentence in part)
    assert not [sentence for sentence, count in counts.items() if count > 1]


def overlap(first: frozenset[str], second: frozenset[str]) -> float:
    """Jaccard index of two sets of words."""
    return len(first & second) / len(first | second)


def test_no_scenario_is_in_two_splits(tickets: Tickets) -> None:
    used = {split: {ticket.scenario for ticket in part} for split, part in tickets.items()}
    assert not used["train"] & used["dev"]
    assert not used["train"] & used["test"]
    assert not used["dev"] & used["test"]


def test_no_near_duplicate_across_splits(tickets: Tickets) -> None:
    words = {
        split: [(ticket.id, frozenset(re.findall(r"\w+", ticket.text.lower()))) for ticket in part]
        for split, part in tickets.items()
    }
    faults = [
        f"{one} and {two}"
        for first, second in (("train", "dev"), ("train", "test"), ("dev", "test"))
        for one, own in words[first]  # type: ignore[index]
        for two, other in words[second]  # type: ignore[index]
        if overlap(own, other) >= NEAR_DUPLICATE
    ]
    assert not faults


def test_a_fifth_of_the_wrong_labels_is_wrong(tickets: Tickets) -> None:
    noisy = load_tickets("train", wrong_labels=True)
    assert [(t.id, t.text) for t in noisy] == [(t.id, t.text) for t in tickets["train"]]
    wrong = sum(a.record != b.record for a, b in zip(noisy, tickets["train"], strict=True))
    assert wrong == round(0.2 * len(noisy))
