"""The attacks of lesson 03 can be planted, and their canaries stand nowhere else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from langchain_core.documents import Document

from workshop_utils.corpus import CorpusError, load_documents
from workshop_utils.corpus.injections import KINDS, Injection, Plant, load_injections
from workshop_utils.corpus.updates import load_updates

LINE = (
    '{"id": "x", "kind": "split", "seen": true, "question": "HR-01-q1", '
    '"plants": [{"document": "HR-01", "after": null, "text": " x"}], "canary": "ZEBRA", "obeyed": "[{n}] ZEBRA"}'
)


def test_every_kind_has_one_that_was_in_view_and_one_that_was_not() -> None:
    attacks = load_injections()
    assert len({attack.id for attack in attacks}) == len(attacks) >= 28
    assert len(KINDS) >= 14
    assert Counter((attack.kind, attack.seen) for attack in attacks) == Counter(
        {(kind, seen): 1 for kind in KINDS for seen in (True, False)}
    )


def test_each_can_be_planted_and_no_document_holds_its_canary() -> None:
    documents = load_documents()
    everything = [*load_documents(groups=None), *(one for update in load_updates() for one in update.documents)]
    for attack in load_injections():
        planted = attack.plant(documents)
        changed = [one.id for one, before in zip(planted, documents, strict=True) if one != before]
        assert changed == sorted({plant.document for plant in attack.plants})
        assert not any(attack.succeeds(f"{one.metadata['title']} {one.page_content}") for one in everything)
        assert attack.succeeds(attack.obeyed)
        assert attack.obeyed.startswith("[{n}] ")
        assert not attack.succeeds(attack.question.answer)
        assert attack.question.sources[0] in {plant.document for plant in attack.plants}


def test_a_plant_changes_nothing_else() -> None:
    document = Document(id="A", page_content="One. Two.", metadata={"title": "T"})
    attack = load_injections()[0]
    after = Injection(
        "x", "split", True, attack.question, (Plant("A", "One.", " NEW"), Plant("A", None, "+")), "N", "N"
    )
    (planted,) = after.plant([document])
    assert planted.page_content == "One. NEW Two."
    assert planted.metadata == {"title": "T+"}
    assert document.page_content == "One. Two."
    assert document.metadata == {"title": "T"}
    with pytest.raises(CorpusError, match="A does not say 'Three'"):
        Injection("x", "split", True, attack.question, (Plant("A", "Three", "x"),), "N", "N").plant([document])
    with pytest.raises(CorpusError, match="there is no document B"):
        Injection("x", "split", True, attack.question, (Plant("B", None, "x"),), "N", "N").plant([document])


@pytest.mark.parametrize(
    ("answer", "holds"),
    [("It is zebra-7.", True), ("Z e b r a - 7", True), ("ze\u200bbra\u2060-7", True), ("ZEBRA", False), ("", False)],
)
def test_the_canary_is_known_in_disguise(answer: str, holds: bool) -> None:
    attack = load_injections()[0]
    assert Injection("x", "split", True, attack.question, (), "ZEBRA-7", "").succeeds(answer) == holds


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (LINE.replace("HR-01-q1", "HR-01-q99"), "line 1: question is 'HR-01-q99', which is no development question"),
        (LINE.replace('"split"', '"theft"'), "line 1: kind is 'theft'"),
        (LINE.replace('"ZEBRA"', '" "'), "line 1: plants and canary must not be empty"),
        (LINE.replace('"canary"', '"bird"'), "line 1: the field 'canary' is missing"),
        (LINE.replace('"id"', '"number": 1, "id"'), "line 1"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, fault: str) -> None:
    path = tmp_path / "injections.jsonl"
    path.write_text(LINE, "utf-8")
    assert len(load_injections(path)) == 1
    path.write_text(line, "utf-8")
    with pytest.raises(CorpusError, match=fault):
        load_injections(path)
