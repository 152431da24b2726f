"""Office files and PDFs as Markdown."""

from __future__ import annotations

import io
import zipfile

import pytest
from langchain_core.documents import Document

from tests.serving.small_company import document, words
from workshop_utils.authoring.datasets import office
from workshop_utils.corpus import split_documents
from workshop_utils.corpus.connectors import files
from workshop_utils.corpus.connectors.files import file_to_markdown, is_readable

ONE = document(
    "PM-01",
    "It holds **50 ml**.\n\n## Data\n\n| Ref. | Value |\n|---|---|\n| A-1 | 0.10 ml |\n| A-2 | 20 |\n\nA note.\n\n"
    "## Steps\n\n1. Stop.\n2. Wait a while.\n",
)
WRITERS = {
    "a.docx": office.docx_file,
    "a.PDF": office.pdf_file,
    "a.pptx": office.pptx_file,
    "a.xlsx": office.xlsx_file,
}


@pytest.mark.parametrize("name", WRITERS)
def test_files_say_what_the_document_says(name: str) -> None:
    text = file_to_markdown(name, WRITERS[name](ONE), "Title of PM-01")
    assert text.startswith("# Title of PM-01\n\n")
    missing = set(words(ONE.page_content)) - set(words(text))
    assert missing <= {"1", "2"}  # numbers of list items
    assert "NaN" not in text
    assert "20.0" not in text
    assert "Slide number" not in text


@pytest.mark.parametrize("name", ["a.docx", "a.pptx", "a.xlsx"])
def test_tables_keep_their_header_when_they_are_split(name: str) -> None:
    text = file_to_markdown(name, WRITERS[name](ONE), "T")
    lines = [line.replace(" ", "") for line in text.split("\n") if line.startswith("|")]
    assert lines == ["|Ref.|Value|", "|---|---|", "|A-1|0.10ml|", "|A-2|20|"]
    (passage,) = [
        one.page_content
        for one in split_documents([Document(id="x", page_content=text, metadata={"title": "T"})], 30)
        if "A-2" in one.page_content
    ]
    assert "Ref." in passage
    assert passage.startswith("T > Data\n")


def test_slides_of_one_title_are_one_section() -> None:
    long = document("CB-2024-01", "## Part\n\n" + "\n\n".join(f"Sentence {n} " + "word " * 60 for n in range(5)))
    text = file_to_markdown("a.pptx", office.pptx_file(long), "T")
    assert text.count("## Part") == 1
    assert "Sentence 4" in text


def test_lines_of_a_pdf_are_joined() -> None:
    long = document("CB-2024-01", "word " * 200)
    text = file_to_markdown("a.pdf", office.pdf_file(long), "T")
    assert max(len(line.split()) for line in text.split("\n")) >= 200


@pytest.mark.parametrize("name", ["a.docx", "a.pptx", "a.xlsx", "a.pdf"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"%PDF-1.7 nothing", b"\x00" * 1000])
def test_damaged_files_are_a_value_error(name: str, content: bytes) -> None:
    with pytest.raises(ValueError, match="it "):
        file_to_markdown(name, content, "T")


def test_truncated_files_are_a_value_error() -> None:
    for name, write in WRITERS.items():
        content = write(ONE)
        with pytest.raises(ValueError, match="it "):
            file_to_markdown(name, content[: len(content) // 2], "T")


def test_a_file_of_another_kind_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="cannot be read as xlsx"):
        file_to_markdown("a.xlsx", office.docx_file(ONE), "T")


def packed(name: str, part: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, part)
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", ["docx", "pptx", "xlsx"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_in_office_files_are_refused(suffix: str, encoding: str) -> None:
    part = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>'.encode(encoding)
    with pytest.raises(ValueError, match="declares a document type"):
        file_to_markdown(f"a.{suffix}", packed("word/document.xml", part), "T")


def test_a_file_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_UNPACKED", 1_000_000)
    with pytest.raises(ValueError, match="unpacks to more than"):
        file_to_markdown("a.docx", packed("word/document.xml", b"0" * 1_000_001), "T")


def test_a_file_without_text_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="holds no text"):
        file_to_markdown("a.txt", b" \n ", "T")


def test_plain_text_and_the_kinds_that_can_be_read() -> None:
    assert file_to_markdown("a.md", "\ufeff# A\n\ndéjà vu".encode(), "T") == "# A\n\ndéjà vu\n"
    assert file_to_markdown("a.txt", b"one\ntwo", "T") == "# T\n\none\ntwo\n"
    assert [is_readable(name) for name in ("a.DOCX", "a.b.pdf", "a.png", "docx", "")] == [
        True,
        True,
        False,
        False,
        False,
    ]
