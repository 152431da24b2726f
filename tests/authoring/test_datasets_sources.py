"""What the source systems hold says the same as the canonical documents, and is well formed."""

from __future__ import annotations

import json
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import openpyxl
import pdfplumber
import pytest
from langchain_core.documents import Document
from markitdown import MarkItDown

from workshop_utils.authoring.datasets import confluence, sharepoint
from workshop_utils.authoring.datasets.blocks import Block, Run, parse_blocks, plain
from workshop_utils.corpus import data_dir, load_documents, load_questions
from workshop_utils.corpus.updates import load_updates

AC, RI = "{http://ac}", "{http://ri}"


def words(text: str) -> str:
    """The words and figures alone, in order, so that layouts can be compared."""
    return " ".join(re.findall(r"[a-z0-9]+(?:[.,:/-][a-z0-9]+)*", text.lower().replace("*", "").replace("`", "")))


@cache
def file_words(path: Path) -> str:
    """What an ordinary parser finds in an office file."""
    if path.suffix == ".xlsx":
        # markitdown reads a sheet through pandas, which makes 20 sets a box 20.0
        book = openpyxl.load_workbook(path, read_only=True)
        rows = [row for sheet in book for row in sheet.iter_rows(values_only=True)]
        cells = [*book.sheetnames, *(str(cell) for row in rows for cell in row if cell is not None)]
        return words(" ".join(cells))
    if path.suffix == ".pdf":
        # markitdown reads these tables column by column; pdfplumber sees their rows by the lines between them
        with pdfplumber.open(path) as file:
            rows = [row for page in file.pages for table in page.extract_tables() for row in table]
            pages = [page.extract_text() for page in file.pages]
        return words(" ".join([*pages, *(cell or "" for row in rows for cell in row)]))
    with warnings.catch_warnings(action="ignore"):  # of the parser's own dependencies
        return words(MarkItDown(enable_plugins=False).convert_local(path).text_content)


def stored() -> Iterator[tuple[Path, list[Document]]]:
    """Every folder of sources with the documents that it holds: the first day's, then each batch's."""
    yield data_dir() / "sources", load_documents(groups=None)
    for update in load_updates():
        yield data_dir() / "updates" / update.date / "sources", list(update.documents)


def cells(document: Document) -> list[str]:
    return [words(plain(cell)) for block in parse_blocks(document.page_content) for row in block.rows for cell in row]


def page(folder: Path, document: Document) -> ET.Element:
    body = (folder / "confluence" / "pages" / f"{confluence.page_id(str(document.id))}.xhtml").read_text("utf-8")
    return ET.fromstring(f'<page xmlns:ac="http://ac" xmlns:ri="http://ri">{body}</page>')


def in_confluence(documents: list[Document]) -> list[Document]:
    return [document for document in documents if document.metadata["collection"] in confluence.COLLECTIONS]


def in_sharepoint(documents: list[Document]) -> list[Document]:
    return [document for document in documents if document.metadata["collection"] in sharepoint.FOLDERS]


def test_each_document_is_in_one_system() -> None:
    for folder, documents in stored():
        pages = json.loads((folder / "confluence" / "space.json").read_text("utf-8"))["pages"]
        items = json.loads((folder / "sharepoint" / "library.json").read_text("utf-8"))["items"]
        found = [entry["document"] for entry in pages] + [entry["columns"]["document"] for entry in items]
        assert sorted(found) == sorted(str(document.id) for document in documents)


def test_pages_say_what_the_documents_say() -> None:
    faults = []
    for folder, documents in stored():
        for document in in_confluence(documents):
            text = words(" ".join(page(folder, document).itertext()))
            # the page's own title is not part of its body
            faults += [f"{document.id}: {cell}" for cell in cells(document)[1:] if cell not in text]
    assert not faults


def test_files_say_what_the_documents_say() -> None:
    faults = []
    for folder, documents in stored():
        for document in in_sharepoint(documents):
            path = folder / "sharepoint" / "files" / sharepoint.item_path(document)
            text = file_words(path)
            faults += [f"{path.name}: {cell}" for cell in cells(document) if cell not in text]
    assert not faults


def test_evidence_of_every_question_can_be_read_from_its_system() -> None:
    documents = load_documents(groups=None)
    folder = data_dir() / "sources"
    texts = {str(d.id): words(" ".join(page(folder, d).itertext())) for d in in_confluence(documents)}
    for document in in_sharepoint(documents):
        path = folder / "sharepoint" / "files" / sharepoint.item_path(document)
        texts[str(document.id)] = file_words(path)
    faults, asked = [], 0
    for question in [*load_questions("train"), *load_questions("dev"), *load_questions("test")]:
        for evidence in question.evidence:
            asked += 1
            if words(re.sub(r"^\d+\. ", "", evidence.span).replace("|", " ")) not in texts[evidence.source]:
                faults.append(f"{question.id}: {evidence.span}")
    assert not faults
    assert asked > 1000


def test_front_matter_labels_and_restrictions_come_along() -> None:
    folder = data_dir() / "sources"
    pages = {
        entry["document"]: entry
        for entry in json.loads((folder / "confluence" / "space.json").read_text("utf-8"))["pages"]
    }
    items = {
        entry["columns"]["document"]: entry
        for entry in json.loads((folder / "sharepoint" / "library.json").read_text("utf-8"))["items"]
    }
    for document in load_documents(groups=None):
        entry = pages.get(str(document.id)) or items[str(document.id)]
        acl = document.metadata["acl"]
        assert entry["read_groups"] == ([] if acl == ["everyone"] else acl), document.id
        assert entry["version"] == int(document.metadata["version"])
        assert entry["when"].startswith(document.metadata["date"])
        if str(document.id) in pages:
            assert {document.metadata["collection"], document.metadata["status"]} <= set(entry["labels"])
            properties = [cell.strip() for cell in page(folder, document)[0].itertext()]
            assert document.metadata["owner"] in properties
        else:
            assert {key: entry["columns"][key] for key in ("title", "status", "owner")} == {
                key: document.metadata[key] for key in ("title", "status", "owner")
            }


def test_links_lead_to_pages_by_title_and_attachments_are_there() -> None:
    folder = data_dir() / "sources" / "confluence"
    titles = {f"{d.id} {d.metadata['title']}" for d in load_documents(groups=None)}
    entries = json.loads((folder / "space.json").read_text("utf-8"))["pages"]
    links = attachments = 0
    for document in in_confluence(load_documents(groups=None)):
        body = page(folder.parent, document)
        for link in body.iter(f"{RI}page"):
            links += 1
            assert link.get(f"{RI}content-title") in titles
        named = {link.get(f"{RI}filename") for link in body.iter(f"{RI}attachment")}
        entry = next(entry for entry in entries if entry["document"] == document.id)
        files = {path.name for path in (folder / "attachments" / entry["id"]).glob("*")}
        assert named == set(entry["attachments"]) == files
        attachments += len(files)
    assert links > 30
    assert attachments > 10


def test_the_library_has_all_four_kinds_of_file() -> None:
    suffixes = {path.suffix for path in (data_dir() / "sources" / "sharepoint" / "files").rglob("*") if path.is_file()}
    assert suffixes == {".docx", ".pdf", ".pptx", ".xlsx"}


def document(body: str, **metadata: object) -> Document:
    front = {
        "id": "HR-01",
        "title": "Leave & more",
        "collection": "hr-policies",
        "version": "2",
        "date": "2025-01-15",
        "status": "current",
        "superseded_by": None,
        "owner": "People team",
        "acl": ["everyone"],
        "family": "leave",
    } | metadata
    return Document(id=str(front["id"]), page_content=body, metadata=front)


def test_text_is_escaped_and_references_become_links() -> None:
    one = document("# Leave & more\n\nA < B & see IT-02 (`x<y`), **not** XX-99.\n")
    body = confluence.storage_format(one, parse_blocks(one.page_content), {"IT-02": 'VPN "new"'})
    root = ET.fromstring(f'<page xmlns:ac="http://ac" xmlns:ri="http://ri">{body}</page>')
    assert "A < B & see IT-02 (x<y), not XX-99." in "".join(root.itertext())
    (link,) = root.iter(f"{RI}page")
    assert link.get(f"{RI}content-title") == 'IT-02 VPN "new"'


def test_blocks_of_every_kind() -> None:
    blocks = parse_blocks("# T\n\nOne *two*\nthree.\n\n- a\n- b\n\n1. c\n2. d\n\n| h | i |\n|---|---|\n| 1 | **2** |\n")
    assert [(block.kind, [[plain(cell) for cell in row] for row in block.rows]) for block in blocks] == [
        ("heading", [["T"]]),
        ("paragraph", [["One two three."]]),
        ("list", [["a"], ["b"]]),
        ("numbered", [["c"], ["d"]]),
        ("table", [["h", "i"], ["1", "2"]]),
    ]
    assert blocks[0] == Block("heading", (((Run("T"),),),), level=1)
    assert blocks[4].rows[1][1] == (Run("2", "strong"),)


@pytest.mark.parametrize("markdown", ["> quoted", "```\ncode\n```", "<b>bold</b>\n", "a ![x](y) b", "a\n\n---\n\nb"])
def test_markdown_that_no_document_uses_is_refused(markdown: str) -> None:
    with pytest.raises(ValueError, match="documents hold no"):
        parse_blocks(markdown)


def test_office_files_are_the_same_each_time() -> None:
    one = document("# Leave & more\n\n## Part\n\nA text.\n\n| h | i |\n|---|---|\n| 1 | 2 |\n")
    for name, write in sharepoint.WRITERS.items():
        assert write(one) == write(one), name
        assert write(one) != write(document(one.page_content, date="2025-01-16")), name
