"""What to tune for: ticket to record, message to house-style reply, clinical note to plain language and back."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from workshop_utils.corpus.pairs import load_pairs
from workshop_utils.corpus.questions import Split
from workshop_utils.corpus.tickets import ACTIONS, CATEGORIES, DEVICES, TicketRecord, load_tickets
from workshop_utils.models import load_tokenizer
from workshop_utils.tuning.settings import Settings
from workshop_utils.tuning.supervised import Example, encode_examples
from workshop_utils.tuning.trainer import train_adapter

Task = Literal["triage", "style", "jargon", "notes"]
TASKS: tuple[Task, ...] = ("triage", "style", "jargon", "notes")
# the longest answer, in tokens: a fifth more than the longest of the training set
MAX_TOKENS: dict[Task, int] = {"triage": 48, "style": 144, "jargon": 92, "notes": 72}
# how many examples of the development split the loss is measured on
DEV_EXAMPLES: dict[Task, int] = {"triage": 40, "style": 44, "jargon": 44, "notes": 44}
# of the adapters that come with the workshop
SETTINGS: dict[Task, Settings] = {
    "triage": Settings(rank=8, upper_layers=15, learning_rate=3e-3, epochs=1, batch_size=4),
    "style": Settings(rank=8, upper_layers=15, learning_rate=1e-3, epochs=4, batch_size=8),
    "jargon": Settings(rank=8, upper_layers=15, learning_rate=1e-3, epochs=4, batch_size=8),
    "notes": Settings(rank=8, upper_layers=15, learning_rate=1e-3, epochs=4, batch_size=8),
}

# what the model is and shall do, in one line: enough for a tuned model, which has the rest in its weights
ROLES: dict[Task, str] = {
    "triage": "You turn support tickets into JSON records.",
    "style": "You answer hospitals for Clairval Customer Support.",
    "jargon": "You explain clinical notes in plain language.",
    "notes": "You write clinical notes.",
}
REQUESTS: dict[Task, str] = {"triage": "Record:", "style": "Reply:", "jargon": "In plain language:", "notes": "Note:"}
# the rules of the task's GUIDE.md in short: what a model that was not tuned has to be told in each prompt
GUIDES: dict[Task, str] = {
    "triage": f"""Answer with one JSON object and nothing else. Its fields, in this order:
"device": the product that has the problem, one of {", ".join(DEVICES)}
"error_code": the code of the present problem, such as E-217, T-41 or Q-5003, or null if the ticket names none
"category": what is wrong, one of {", ".join(CATEGORIES)}
"severity": 1 a patient was harmed or is in danger now; 2 therapy was interrupted or several devices are out of use; \
3 one device is out of use or work is slower; 4 no effect on work
"action": what the writer asks for, one of {", ".join(ACTIONS)}""",
    "style": """Write six parts, each on its own line:
Reference CS- and the five digits of the message
Good day,
The body: 3 to 6 sentences of at most 25 words. The first starts with "You" and names the problem in the writer's words.
Next step: who (we, you, our or your somebody) does what, by a weekday, a date or a time.
With regards
Clairval Customer Support, Tarrow
Say "we", never "I" or "my". No exclamation mark, no question mark, no bold, list or link. Never write sorry, \
unfortunately, apologise, kindly, please note, inconvenience, feel free or hesitate. Numbers with units as 50 ml, \
2 hours, 30 %; times as 14:30; dates as 7 March 2025.""",
    "jargon": """Speak to the patient, or to the relative if the note names one: "you". Write 20 to 50 words in \
sentences of at most 20 words. Keep every figure and time of the note as digits and add none. Write no abbreviation, \
no symbol and no technical word: drip instead of infusion, blocked instead of occluded, mL/h as millilitres an hour, \
RN as nurse, MD as doctor. Add nothing that the note does not say.""",
    "notes": """Write the note that a nurse makes at the pump: as short as can be, no articles, no "you" and no "we". \
Keep every figure and time as digits and add none. Units as mg, mL, mL/h, min, h. Abbreviations: pt patient, RN nurse, \
MD doctor, inf drip, occl blocked, BP blood pressure, HR heartbeats a minute, w/ with, w/o without, L left, R right, \
FA forearm, d/c stop, c/o complains of, yest yesterday. Add nothing that the text does not say.""",
}


@dataclass(frozen=True)
class Item:
    """What comes in, and the answer that a good writer gives. Items of one ``scenario`` are in one split."""

    id: str
    scenario: str
    text: str
    answer: str


def record_json(record: TicketRecord) -> str:
    """A record as the model writes it: JSON without spaces, the fields always in the same order."""
    return json.dumps(asdict(record), separators=(",", ":"))


def task_items(
    task: Task, split: Split, n: int | None = None, seed: int = 0, *, wrong_labels: bool = False
) -> list[Item]:
    """The first n items of a split in one shuffled order, so that a smaller set is part of every larger one.

    Args:
        n: how many; all when None.
        seed: of the order.
        wrong_labels: a fifth of the training tickets' records are wrong; triage alone has such a variant.

    Raises:
        workshop_utils.corpus.records.CorpusError: the data cannot be read.
        ValueError: more items are asked for than there are, or wrong labels of another task than triage.
    """
    if task == "triage":
        tickets = load_tickets(split, wrong_labels=wrong_labels)
        items = [Item(ticket.id, ticket.scenario, ticket.text, record_json(ticket.record)) for ticket in tickets]
    elif wrong_labels:
        raise ValueError(f"Only triage has wrong labels, {task} has none.")
    elif task == "notes":
        items = [Item(pair.id, pair.scenario, pair.target, pair.text) for pair in load_pairs("jargon", split)]
    else:
        items = [Item(pair.id, pair.scenario, pair.text, pair.target) for pair in load_pairs(task, split)]
    if n is not None and not 0 < n <= len(items):
        raise ValueError(f"The {split} split of {task} has {len(items)} items, and {n} are asked for.")
    random.Random(seed).shuffle(items)
    return items[:n]


def task_prompt(task: Task, text: str, shots: Sequence[Item] = (), *, guide: bool = False) -> list[BaseMessage]:
    """What the model is sent for one text.

    Args:
        shots: worked examples, shown as earlier turns of the conversation (few-shot prompting).
        guide: whether the rules are told too, as a model needs that was not tuned.
    """
    messages: list[BaseMessage] = [SystemMessage(f"{ROLES[task]}\n{GUIDES[task]}" if guide else ROLES[task])]
    for shot in shots:
        messages += [HumanMessage(_asked(task, shot.text)), AIMessage(shot.answer)]
    return [*messages, HumanMessage(_asked(task, text))]


def task_examples(
    task: Task, split: Split, n: int | None = None, seed: int = 0, *, wrong_labels: bool = False
) -> list[Example]:
    """The items of ``task_items`` as supervised examples: prompt without guide or shots, and answer."""
    items = task_items(task, split, n, seed, wrong_labels=wrong_labels)
    return [Example(tuple(task_prompt(task, item.text)), item.answer) for item in items]


def task_rows(
    tokenizer: Any, task: Task, split: Split, n: int | None = None, seed: int = 0, *, wrong_labels: bool = False
) -> list[dict[str, list[int]]]:
    """The same as token ids and labels, as ``train_adapter`` reads them."""
    return encode_examples(tokenizer, task_examples(task, split, n, seed, wrong_labels=wrong_labels))


def train_task(task: Task, folder: Path, watch: Any = None) -> dict[str, Any]:
    """Train the adapter of one task on its whole training split; interrupted, the next call goes on.

    Args:
        watch: told of the progress: see ``train_adapter``.

    Returns:
        The report: see ``train_adapter``.

    Raises:
        workshop_utils.models.store.ModelStoreError: the base model cannot be had.
    """
    tokenizer = load_tokenizer()
    train = task_rows(tokenizer, task, "train")
    dev = task_rows(tokenizer, task, "dev", DEV_EXAMPLES[task])
    return train_adapter(train, folder, SETTINGS[task], dev=dev, watch=watch)


def _asked(task: Task, text: str) -> str:
    return f"{text}\n\n{REQUESTS[task]}"
