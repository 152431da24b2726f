"""Support tickets and the records that triage makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workshop_utils.corpus.documents import data_dir
from workshop_utils.corpus.questions import Split
from workshop_utils.corpus.records import read_records

DEVICES = ("Sorvane 4", "Sorvane 2", "Tilvo S", "Quaylink", "Dosewright", "Wardboard")
CATEGORIES = (
    "alarm",
    "power",
    "mechanical",
    "connectivity",
    "drug-library",
    "display",
    "consumables",
    "documents",
)
SEVERITIES = (1, 2, 3, 4)
ACTIONS = ("advice", "repair", "replace", "visit", "loan", "parts", "credit", "document")


@dataclass(frozen=True)
class TicketRecord:
    """What a ticket says, by the rules of data/tickets/GUIDE.md; ``error_code`` is None where it names none."""

    device: str
    error_code: str | None
    category: str
    severity: int
    action: str

    def __post_init__(self) -> None:
        for value, allowed in (
            (self.device, DEVICES),
            (self.category, CATEGORIES),
            (self.severity, SEVERITIES),
            (self.action, ACTIONS),
        ):
            if value not in allowed:
                raise ValueError(f"{value!r} is none of {', '.join(map(str, allowed))}")


@dataclass(frozen=True)
class Ticket:
    """A ticket as it came in. Tickets of one ``scenario`` tell of the same trouble and are in one split."""

    id: str
    scenario: str
    text: str
    record: TicketRecord


def load_tickets(split: Split, *, wrong_labels: bool = False, folder: Path | None = None) -> list[Ticket]:
    """The tickets of one split.

    Args:
        wrong_labels: the variant of the training tickets in which a fifth of the records are wrong.

    Raises:
        CorpusError: a line is not a ticket; the message names file and line.
    """
    root = folder or data_dir() / "tickets"
    tickets = read_records(root / f"{split}.jsonl", parse_ticket)
    if not wrong_labels:
        return tickets
    records = dict(read_records(root / f"{split}_wrong_labels.jsonl", _parse_wrong))
    return [Ticket(t.id, t.scenario, t.text, records.get(t.id, t.record)) for t in tickets]


def parse_ticket(record: dict[str, Any]) -> Ticket:
    """A ticket from its JSON form.

    Raises:
        ValueError, KeyError, TypeError: a field is missing, unknown or of the wrong kind.
    """
    return Ticket(**{**record, "record": TicketRecord(**record["record"])})


def _parse_wrong(record: dict[str, Any]) -> tuple[str, TicketRecord]:
    return record["id"], TicketRecord(**record["record"])
