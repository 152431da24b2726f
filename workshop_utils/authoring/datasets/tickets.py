"""Support tickets, put together from written sentences; data/tickets/stock holds the sentences.

A scenario is one particular trouble, told in four ways. A ticket takes one telling and adds what the writer suffers,
wants and mentions by the way. Both scenarios and sentences are dealt out to the splits before any ticket is made, so a
development or test ticket shares no sentence with a training ticket.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from workshop_utils.corpus.questions import Split
from workshop_utils.corpus.records import read_records
from workshop_utils.corpus.tickets import ACTIONS, CATEGORIES, SEVERITIES, Ticket, TicketRecord

# of those tried the first with at least five tickets of every label in every split
SEED = 3
COUNTS: dict[Split, int] = {"train": 2000, "dev": 240, "test": 480}
SHARES: dict[Split, float] = {"train": 0.66, "dev": 0.14, "test": 0.20}
WRONG = 0.2
PUMPS = ("Sorvane 4", "Sorvane 2", "Tilvo S")
# how often the first, second, third ... of a scenario's severities and actions occurs
BY_RANK = (0.54, 0.27, 0.12, 0.07)
# a trouble that can interrupt a therapy can, more rarely, harm a patient
HARMFUL = ("alarm", "power", "mechanical", "display")
# what only a thing that can be carried is asked for; software is not sent to a workshop
GOODS = re.compile(r"workshop|ship|parcel|courier|post |box|pick|collect|pack|bench|by mail|in the mail", re.I)

Item = TypeVar("Item")


@dataclass(frozen=True)
class Scenario:
    """One trouble: its labels and four tellings, with ``{code}`` where the error code stands.

    Attributes:
        severities, actions: the ones that can go with it, most frequent first.
        edge: for troubles on the edge of two categories, why this one was chosen.
    """

    id: str
    device: str
    category: str
    codes: tuple[str | None, ...]
    severities: tuple[int, ...]
    actions: tuple[str, ...]
    wordings: tuple[str, ...]
    edge: str = ""


@dataclass(frozen=True)
class Sentences:
    """What surrounds a telling; ``impacts`` by severity and kind of device, ``requests`` by action."""

    openings: list[str]
    impacts: dict[int, dict[str, list[str]]]
    requests: dict[str, list[str]]
    asides: list[str]
    closings: list[str]


def load_scenarios(folder: Path) -> list[Scenario]:
    """The scenarios of ``folder/scenarios.jsonl``."""

    def parse(record: dict[str, Any]) -> Scenario:
        fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in record.items()}
        return Scenario(**fields)

    return read_records(folder / "scenarios.jsonl", parse)


def load_sentences(folder: Path) -> Sentences:
    """The sentences of ``folder/sentences.json``."""
    stock = json.loads((folder / "sentences.json").read_text("utf-8"))
    return Sentences(**{**stock, "impacts": {int(key): kinds for key, kinds in stock["impacts"].items()}})


def make_tickets(folder: Path) -> dict[Split, list[Ticket]]:
    """The tickets of every split, made of the stock in ``folder``; the same ones each time.

    Raises:
        workshop_utils.corpus.CorpusError: a line is no scenario; the message names file and line.
    """
    rng = random.Random(SEED)
    scenarios: dict[Split, list[Scenario]] = {split: [] for split in COUNTS}
    known = sorted(load_scenarios(folder), key=lambda scenario: scenario.id)
    for category in CATEGORIES:
        for split, part in _deal([scenario for scenario in known if scenario.category == category], rng).items():
            scenarios[split] += part
    sentences = _deal_sentences(load_sentences(folder), rng)
    return {split: _split(split, scenarios[split], sentences[split], rng) for split in COUNTS}


def wrong_records(tickets: Sequence[Ticket]) -> dict[str, TicketRecord]:
    """For a fifth of the tickets, by id, the record of another: as if filed with the wrong ticket."""
    rng = random.Random(SEED)
    chosen = rng.sample(range(len(tickets)), round(WRONG * len(tickets)))
    records = {}
    for place, index in enumerate(chosen):
        following = (tickets[chosen[(place + step) % len(chosen)]] for step in range(1, len(chosen)))
        records[tickets[index].id] = next(other.record for other in following if other.record != tickets[index].record)
    return records


def _deal(items: Sequence[Item], rng: random.Random) -> dict[Split, list[Item]]:
    shuffled = list(items)
    rng.shuffle(shuffled)
    first = round(SHARES["train"] * len(items))
    second = first + max(1, round(SHARES["dev"] * len(items)))
    return {"train": shuffled[:first], "dev": shuffled[first:second], "test": shuffled[second:]}


def _deal_sentences(stock: Sentences, rng: random.Random) -> dict[Split, Sentences]:
    openings, asides, closings = (_deal(part, rng) for part in (stock.openings, stock.asides, stock.closings))
    impacts = {
        (severity, kind): _deal(part, rng) for severity in SEVERITIES for kind, part in stock.impacts[severity].items()
    }
    requests = {action: _deal(stock.requests[action], rng) for action in ACTIONS}
    return {
        split: Sentences(
            openings[split],
            {s: {kind: impacts[s, kind][split] for kind in stock.impacts[s]} for s in SEVERITIES},
            {action: requests[action][split] for action in ACTIONS},
            asides[split],
            closings[split],
        )
        for split in COUNTS
    }


def _split(split: Split, scenarios: Sequence[Scenario], sentences: Sentences, rng: random.Random) -> list[Ticket]:
    # some troubles come every day and some once a year
    frequency = [1 / (1 + rng.randrange(5)) for _ in scenarios]
    seen: set[str] = set()
    tickets: list[Ticket] = []
    while len(tickets) < COUNTS[split]:
        # every scenario comes at least once
        scenario = scenarios[len(tickets)] if len(tickets) < len(scenarios) else rng.choices(scenarios, frequency)[0]
        text, record = _write(scenario, sentences, rng)
        if text not in seen:
            seen.add(text)
            tickets.append(Ticket("", scenario.id, text, record))
    rng.shuffle(tickets)
    return [Ticket(f"TK-{split}-{n:04d}", t.scenario, t.text, t.record) for n, t in enumerate(tickets, start=1)]


def _write(scenario: Scenario, sentences: Sentences, rng: random.Random) -> tuple[str, TicketRecord]:
    code = rng.choice(scenario.codes or (None,))
    wording = rng.choice([w for w in scenario.wordings if ("{code}" in w) == (code is not None)])
    kind = "pump" if scenario.device in PUMPS else "system"
    severities = scenario.severities
    if kind == "pump" and scenario.category in HARMFUL and 2 in severities and 1 not in severities:
        severities = (*severities, 1)
    severity = _by_rank(severities, rng)
    action = _by_rank(scenario.actions, rng)
    requests = [text for text in sentences.requests[action] if kind == "pump" or not GOODS.search(text)]
    middle = [wording.replace("{code}", code or ""), rng.choice(sentences.impacts[severity][kind])]
    if rng.random() < 0.2:
        middle.reverse()
    parts = [rng.choice(sentences.openings)] if rng.random() < 0.6 else []
    parts += middle
    if rng.random() < 0.35:
        # 'the Tilvo S is fine' says nothing of use in a ticket on a Tilvo S
        asides = [aside for aside in sentences.asides if scenario.device.lower() not in aside.lower()]
        parts.insert(rng.randrange(1, len(parts) + 1), rng.choice(asides))
    parts.append(rng.choice(requests))
    if rng.random() < 0.5:
        parts.append(rng.choice(sentences.closings))
    record = TicketRecord(scenario.device, code, scenario.category, severity, action)
    return _type(" ".join(parts), rng), record


def _by_rank(options: Sequence[Item], rng: random.Random) -> Item:
    return rng.choices(options, BY_RANK[: len(options)])[0]


def _type(text: str, rng: random.Random) -> str:
    """The text as hurried fingers type it: sometimes without capitals, sometimes with two letters swapped."""
    if rng.random() < 0.06:
        # codes stay as they are on the display
        text = " ".join(word if any(map(str.isdigit, word)) else word.lower() for word in text.split(" "))
    words = text.split(" ")
    if rng.random() < 0.15:
        plain = [place for place, word in enumerate(words) if word.isalpha() and word.islower() and len(word) > 4]
        for place in rng.sample(plain, min(len(plain), rng.choice((1, 1, 2)))):
            word, at = words[place], rng.randrange(1, len(words[place]) - 2)
            words[place] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return " ".join(words)
