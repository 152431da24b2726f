"""Readers of the data sets: what is stored comes back, and a malformed line is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from workshop_utils.corpus import CorpusError
from workshop_utils.corpus.general import load_general_choices, load_prose
from workshop_utils.corpus.overview import counts, load_sets
from workshop_utils.corpus.pairs import load_pairs
from workshop_utils.corpus.people import load_groups, load_roles
from workshop_utils.corpus.reader_set import load_reader_examples
from workshop_utils.corpus.records import read_records
from workshop_utils.corpus.tickets import TicketRecord, load_tickets

RECORD: dict[str, Any] = {
    "device": "Tilvo S",
    "error_code": "T-23",
    "category": "alarm",
    "severity": 3,
    "action": "advice",
}


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_records_name_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"b": 2}\n', "utf-8")
    with pytest.raises(CorpusError, match=r"rows\.jsonl, line 2: the field 'a' is missing"):
        read_records(path, lambda row: row["a"])
    path.write_text('{"a": 1}\nno json\n', "utf-8")
    with pytest.raises(CorpusError, match=r"rows\.jsonl, line 2: Expecting value"):
        read_records(path, lambda row: row["a"])
    with pytest.raises(CorpusError, match="is not there"):
        read_records(tmp_path / "none.jsonl", lambda row: row)


def test_a_line_separator_inside_a_text_ends_no_record(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": "one\u2028two"}\n', "utf-8")
    assert read_records(path, lambda row: row["a"]) == ["one\u2028two"]


def test_tickets_and_their_variant_with_wrong_labels(tmp_path: Path) -> None:
    write(
        tmp_path / "train.jsonl",
        {"id": "1", "scenario": "a", "text": "x", "record": RECORD},
        {"id": "2", "scenario": "b", "text": "y", "record": RECORD},
    )
    write(tmp_path / "train_wrong_labels.jsonl", {"id": "2", "record": RECORD | {"severity": 1}})
    assert [t.record.severity for t in load_tickets("train", folder=tmp_path)] == [3, 3]
    assert [t.record.severity for t in load_tickets("train", wrong_labels=True, folder=tmp_path)] == [3, 1]


@pytest.mark.parametrize(
    "fault", [{"device": "Heron"}, {"category": "other"}, {"severity": 5}, {"severity": "3"}, {"action": "none"}]
)
def test_a_label_that_does_not_exist_is_refused(tmp_path: Path, fault: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is none of"):
        TicketRecord(**RECORD | fault)
    write(tmp_path / "dev.jsonl", {"id": "1", "scenario": "a", "text": "x", "record": RECORD | fault})
    with pytest.raises(CorpusError, match=r"dev\.jsonl, line 1: .* is none of"):
        load_tickets("dev", folder=tmp_path)


def test_pairs_choices_and_prose(tmp_path: Path) -> None:
    write(tmp_path / "dev.jsonl", {"id": "1", "scenario": "a", "text": "x", "target": "y"})
    assert [(p.text, p.target) for p in load_pairs("style", "dev", folder=tmp_path)] == [("x", "y")]
    write(
        tmp_path / "choices.jsonl",
        {"id": "1", "topic": "t", "question": "q", "choices": ["a", "b", "c", "d"], "choice": 2},
    )
    assert load_general_choices(tmp_path)[0].choices[2] == "c"
    write(tmp_path / "prose.jsonl", {"id": "1", "topic": "t", "text": "z"}, {"id": "2", "topic": "t"})
    with pytest.raises(CorpusError, match=r"prose\.jsonl, line 2"):
        load_prose(tmp_path)


def test_reader_examples_carry_their_passages(tmp_path: Path) -> None:
    write(tmp_path / "passages.jsonl", {"id": "P 1", "organisation": "o", "title": "t", "text": "nine days"})
    row = {"id": "P 1-1", "question": "q", "passages": ["P 1"], "answer": "nine days", "source": "P 1"}
    write(tmp_path / "train.jsonl", row)
    assert load_reader_examples("train", tmp_path)[0].passages[0].text == "nine days"
    write(tmp_path / "train.jsonl", row | {"passages": ["P 2"]})
    with pytest.raises(CorpusError, match=r"train\.jsonl, line 1: the field 'P 2' is missing"):
        load_reader_examples("train", tmp_path)


def test_the_first_role_is_an_ordinary_employee() -> None:
    roles = load_roles()
    assert roles[0].groups == ("everyone",)
    assert {group for role in roles for group in role.groups} == set(load_groups())
    assert len({role.id for role in roles}) == len(roles)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("groups: {everyone: all}\nroles: [{id: a, title: b, site: c, groups: [hr]}]", "groups must be known ones"),
        ("groups: {everyone: all, hr: p}\nroles: [{id: a, title: b, site: c, groups: [hr]}]", "'everyone' among them"),
        ("groups: [everyone]\nroles: []", "no list of groups and roles"),
        ("roles: [", "no list of groups and roles"),
    ],
)
def test_malformed_people_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "people.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(CorpusError, match=message):
        load_roles(path)


def test_overview_has_the_keys_that_others_rely_on() -> None:
    sizes = counts(load_sets())
    assert {"documents", "questions", "tickets", "style_pairs", "jargon_pairs", "general_choices"} <= set(sizes)
    assert set(sizes["questions"]) == {"train", "dev", "test"}
    assert sizes["tickets"] == sum(sizes["splits"]["tickets"].values())
