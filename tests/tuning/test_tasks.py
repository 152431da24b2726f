"""The tasks: prompts that training and answering share, nested sets of examples, and a training of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from workshop_utils.corpus.tickets import TicketRecord, load_tickets
from workshop_utils.models import store
from workshop_utils.tuning import tasks
from workshop_utils.tuning.supervised import IGNORED
from workshop_utils.tuning.tasks import (
    GUIDES,
    MAX_TOKENS,
    SETTINGS,
    TASKS,
    Task,
    record_json,
    task_examples,
    task_items,
    task_prompt,
    task_rows,
    train_task,
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    import transformers

    return transformers.AutoTokenizer.from_pretrained(store.llm_dir())


def test_a_record_is_compact_json_in_a_fixed_order() -> None:
    record = TicketRecord("Tilvo S", None, "alarm", 3, "advice")
    assert record_json(record) == (
        '{"device":"Tilvo S","error_code":null,"category":"alarm","severity":3,"action":"advice"}'
    )


def test_a_smaller_set_is_part_of_every_larger_one() -> None:
    few, more = task_items("triage", "train", 25), task_items("triage", "train", 100)
    assert more[:25] == few
    assert task_items("triage", "train", 25, seed=1) != few
    assert len({item.id for item in task_items("triage", "train")}) == 2000


def test_wrong_labels_keep_the_texts_and_their_order() -> None:
    clean, noisy = (task_items("triage", "train", 500, wrong_labels=wrong) for wrong in (False, True))
    assert [item.text for item in clean] == [item.text for item in noisy]
    assert 0.15 < sum(a.answer != b.answer for a, b in zip(clean, noisy, strict=True)) / 500 < 0.25


def test_what_there_is_not_cannot_be_had() -> None:
    with pytest.raises(ValueError, match="44 items, and 45"):
        task_items("style", "dev", 45)
    with pytest.raises(ValueError, match="Only triage"):
        task_items("style", "train", wrong_labels=True)


@pytest.mark.parametrize("task", TASKS)
def test_the_tuned_prompt_is_one_line_the_text_and_one_line(task: Task) -> None:
    item = task_items(task, "dev", 1)[0]
    system, user = task_prompt(task, item.text)
    assert isinstance(system, SystemMessage)
    assert "\n" not in str(system.content)
    assert str(user.content).startswith(item.text)
    (example,) = task_examples(task, "dev", 1)
    assert example.messages == (system, user)
    assert example.answer == item.answer


def test_shots_are_earlier_turns_asked_alike() -> None:
    one, two, asked = task_items("jargon", "train", 3)
    messages = task_prompt("jargon", asked.text, [one, two], guide=True)
    assert [type(message) for message in messages] == [
        SystemMessage,
        HumanMessage,
        AIMessage,
        HumanMessage,
        AIMessage,
        HumanMessage,
    ]
    assert str(messages[0].content).endswith(GUIDES["jargon"])
    assert messages[2].content == one.answer
    assert messages[1].content == task_prompt("jargon", one.text)[1].content


def test_the_guide_of_triage_names_every_value() -> None:
    for ticket in load_tickets("dev"):
        record = ticket.record
        for value in (record.device, record.category, record.action):
            assert value in GUIDES["triage"]


@pytest.mark.parametrize("task", TASKS)
def test_every_answer_fits_and_ends(task: Task, tokenizer: Any) -> None:
    """``MAX_TOKENS`` leaves room for the longest answer of the training set and the mark that ends it."""
    rows = task_rows(tokenizer, task, "train", 190)
    learnt = [[token for token in row["labels"] if token != IGNORED] for row in rows]
    assert max(map(len, learnt)) <= MAX_TOKENS[task]
    assert all(row[-1] == tokenizer.eos_token_id for row in learnt)


def test_a_task_is_trained_on_its_whole_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: Any) -> None:
    seen: dict[str, Any] = {}

    def recorded(rows: Any, folder: Path, settings: Any, **options: Any) -> dict[str, Any]:
        seen.update(rows=rows, folder=folder, settings=settings, **options)
        return {"seconds": 1.0}

    monkeypatch.setattr(tasks, "train_adapter", recorded)
    assert train_task("jargon", tmp_path / "jargon", print) == {"seconds": 1.0}
    assert seen == {
        "rows": task_rows(tokenizer, "jargon", "train"),
        "dev": task_rows(tokenizer, "jargon", "dev"),
        "folder": tmp_path / "jargon",
        "settings": SETTINGS["jargon"],
        "watch": print,
    }
