"""Tickets come from the stock, keep its labels, and share no sentence across splits."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from workshop_utils.authoring.datasets.tickets import COUNTS, make_tickets, wrong_records
from workshop_utils.corpus.questions import Split
from workshop_utils.corpus.tickets import ACTIONS, Ticket


@pytest.fixture
def stock(tmp_path: Path) -> Path:
    """A stock in which every sentence names where it comes from."""
    scenarios = [
        {
            "id": f"S4-{n:03d}",
            "device": "Sorvane 4" if n % 3 else "Quaylink",
            "category": "power",
            "codes": [f"E-{300 + n}", None] if n % 2 else [],
            "severities": [3, 4],
            "actions": ["advice", "visit"],
            "wordings": [f"S4-{n:03d} telling {k}{' {code}' if k < 2 and n % 2 else ''}." for k in range(4)],
        }
        for n in range(40)
    ]
    (tmp_path / "scenarios.jsonl").write_text("".join(json.dumps(row) + "\n" for row in scenarios), "utf-8")
    sentences = {
        "openings": [f"Opening-{n}." for n in range(20)],
        "impacts": {
            str(severity): {kind: [f"Impact-{severity}-{kind}-{n}." for n in range(20)] for kind in ("pump", "system")}
            for severity in (1, 2, 3, 4)
        },
        "requests": {action: [f"Request-{action}-{n}." for n in range(20)] for action in ACTIONS},
        "asides": [f"Aside-{n}." for n in range(20)],
        "closings": [f"Closing-{n}." for n in range(20)],
    }
    (tmp_path / "sentences.json").write_text(json.dumps(sentences), "utf-8")
    return tmp_path


@pytest.fixture
def tickets(stock: Path, monkeypatch: pytest.MonkeyPatch) -> dict[Split, list[Ticket]]:
    monkeypatch.setitem(COUNTS, "train", 200)
    monkeypatch.setitem(COUNTS, "dev", 40)
    monkeypatch.setitem(COUNTS, "test", 60)
    return make_tickets(stock)


def pieces(ticket: Ticket) -> set[str]:
    return set(re.findall(r"(?:opening|impact|request|aside|closing)-[\w-]+", ticket.text.lower()))


def test_counts_and_ids(tickets: dict[Split, list[Ticket]]) -> None:
    assert {split: len(part) for split, part in tickets.items()} == {"train": 200, "dev": 40, "test": 60}
    every = [ticket.id for part in tickets.values() for ticket in part]
    assert len(set(every)) == len(every)
    assert len({ticket.text for part in tickets.values() for ticket in part}) == len(every)


def test_the_same_stock_gives_the_same_tickets(stock: Path, tickets: dict[Split, list[Ticket]]) -> None:
    assert make_tickets(stock) == tickets


def test_no_scenario_and_no_sentence_is_in_two_splits(tickets: dict[Split, list[Ticket]]) -> None:
    for of in (lambda t: {t.scenario}, pieces):
        used = {split: set().union(*(of(ticket) for ticket in part)) for split, part in tickets.items()}
        assert not used["train"] & used["dev"]
        assert not used["train"] & used["test"]
        assert not used["dev"] & used["test"]


def test_every_scenario_occurs(tickets: dict[Split, list[Ticket]]) -> None:
    assert len({ticket.scenario for part in tickets.values() for ticket in part}) == 40


def test_the_record_is_that_of_the_sentences(tickets: dict[Split, list[Ticket]]) -> None:
    for ticket in (ticket for part in tickets.values() for ticket in part):
        text, record = ticket.text.lower(), ticket.record
        kind = "pump" if record.device == "Sorvane 4" else "system"
        assert f"impact-{record.severity}-{kind}-" in text
        assert f"request-{record.action}-" in text
        assert (record.error_code or "no code").lower() in text or record.error_code is None
        assert record.error_code is not None or not re.search(r"e-\d{3}", text)
        assert "{code}" not in text


def test_a_fifth_of_the_records_is_wrong(tickets: dict[Split, list[Ticket]]) -> None:
    right = {ticket.id: ticket.record for ticket in tickets["train"]}
    wrong = wrong_records(tickets["train"])
    assert len(wrong) == 40
    assert all(right[key] != record for key, record in wrong.items())
    assert wrong_records(tickets["train"]) == wrong
