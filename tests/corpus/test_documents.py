"""Reading documents: the schema is kept, and a file that breaks it is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from workshop_utils.corpus import COLLECTIONS, CorpusError, load_documents
from workshop_utils.corpus.documents import read_document

HEADER = """\
id: HR-01
title: "Leave: how, when"
collection: hr-policies
version: 2
date: 2025-03-01
status: current
superseded_by: null
owner: HR
acl: [everyone, hr]
family: leave
"""
BODY = "# Leave\n\nDéjà vu.\n\n---\n\nA rule above, and a colon: here.\n"


def write(
    folder: Path, header: str = HEADER, body: str = BODY, name: str = "HR-01", collection: str = "hr-policies"
) -> Path:
    path = folder / collection / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"---\n{header}---\n{body}", "utf-8")
    return path


def test_a_document_is_text_and_metadata(tmp_path: Path) -> None:
    document = read_document(write(tmp_path))
    assert document.id == "HR-01"
    assert document.page_content == BODY
    assert document.metadata["title"] == "Leave: how, when"
    assert document.metadata["date"] == "2025-03-01"
    assert document.metadata["acl"] == ["everyone", "hr"]
    assert document.metadata["superseded_by"] is None


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b""])
def test_a_windows_editor_may_have_saved_it(tmp_path: Path, start: bytes) -> None:
    path = write(tmp_path)
    path.write_bytes(start + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_document(path).page_content == BODY


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda _: "", "no readable front matter"),
        (lambda _: "only text\n", "no readable front matter"),
        (lambda text: "lost words\n" + text, "first line must be '---'"),
        (
            lambda text: text.replace("---\n# Leave", "# Leave").replace("---\n\nA rule", "A rule"),
            "no readable front matter",
        ),
        (lambda text: text.replace("title: ", "title: : ["), "no readable front matter"),
        (lambda text: text.replace("owner: HR\n", ""), "exactly the keys id, title"),
        (lambda text: text.replace("owner: HR\n", "owner: HR\nauthor: me\n"), "exactly the keys"),
        (
            lambda text: text.replace("id: HR-01\n", "", 1).replace("family: leave", "family: leave\nid: HR-01"),
            "in this order",
        ),
        (lambda text: text.replace("id: HR-01", "id: HR-02", 1), "those of the file's name and folder"),
        (
            lambda text: text.replace("collection: hr-policies", "collection: it-faq"),
            "those of the file's name and folder",
        ),
        (lambda text: text.replace("2025-03-01", "March"), "date must be an ISO date"),
        (lambda text: text.replace("[everyone, hr]", "everyone"), "acl a list of at least one group"),
        (lambda text: text.replace("[everyone, hr]", "[]"), "acl a list of at least one group"),
        (lambda text: text.replace(HEADER, "- a\n- list\n"), "exactly the keys"),
        (
            lambda text: text.replace("version: 2", "version: !!python/object/apply:os.getcwd []"),
            "no readable front matter",
        ),
    ],
)
def test_a_file_that_breaks_the_schema_is_named(tmp_path: Path, change: Callable[[str], str], words: str) -> None:
    path = write(tmp_path)
    before = path.read_text("utf-8")
    path.write_text(change(before), "utf-8")
    assert path.read_text("utf-8") != before
    with pytest.raises(CorpusError, match=words) as caught:
        load_documents(tmp_path)
    assert "HR-01.md" in str(caught.value)


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_bytes(path.read_text("utf-8").encode("latin-1"))
    with pytest.raises(CorpusError, match=r"HR-01.md.*utf-8"):
        load_documents(tmp_path)


@pytest.fixture
def three(tmp_path: Path) -> Path:
    write(tmp_path)
    hidden = HEADER.replace("HR-01", "HR-02").replace("[everyone, hr]", "[hr]")
    write(tmp_path, hidden, name="HR-02")
    old = HEADER.replace("HR-01", "IT-01").replace("hr-policies", "it-faq").replace("current", "superseded")
    write(tmp_path, old, name="IT-01", collection="it-faq")
    (tmp_path / "hr-policies/notes.txt").write_text("not a document")
    return tmp_path


def ids(**options: object) -> list[str | None]:
    return [document.id for document in load_documents(**options)]  # type: ignore[arg-type]


def test_only_what_the_reader_may_see_is_loaded(three: Path) -> None:
    assert ids(folder=three) == ["HR-01", "IT-01"]
    assert ids(folder=three, groups=["hr"]) == ["HR-01", "HR-02", "IT-01"]
    assert ids(folder=three, groups=None) == ["HR-01", "HR-02", "IT-01"]
    assert ids(folder=three, groups=["it"]) == ids(folder=three, groups=[]) == []


def test_collections_and_versions_are_chosen(three: Path) -> None:
    assert ids(folder=three, collections=["it-faq"]) == ["IT-01"]
    assert ids(folder=three, superseded=False) == ["HR-01"]


def test_the_companys_documents_come_sorted_and_unique() -> None:
    found = ids(groups=None)
    assert found == sorted(set(found), key=str)
    assert {document.metadata["collection"] for document in load_documents(groups=None)} == set(COLLECTIONS)
    assert set(ids()) <= set(found)
