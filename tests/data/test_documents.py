"""Every document keeps the rules of data/DATASHEET.md. A test collects all faults, so that one run names them all."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from pathlib import Path

import yaml
from langchain_core.documents import Document

from workshop_utils.corpus import COLLECTIONS
from workshop_utils.corpus.documents import EVERYONE, KEYS

Documents = dict[str, Document]

PREFIXES = dict(zip(COLLECTIONS, ("HR", "IT", "PM", "KB", "RA", "CB"), strict=True))
REFERENCE = re.compile(r"\b(?:(?:HR|IT|PM|RA)-\d{2}(?:v\d+)?|KB-\d{3}|CB-\d{4}-\d{2})\b")
OWNERS = {
    "Clinical Affairs",
    "Customer Support",
    "Field Service",
    "IT Service Desk",
    "IT operations",
    "Legal",
    "People team",
    "Quality and Regulatory Affairs",
    "Training Centre",
}
GROUPS = {EVERYONE, "hr", "managers", "it-admins", "legal", "qra", "field-service", "heron-team"}
LAST_DAY = dt.date(2025, 11, 30)
WORDS = range(200, 1201)
TYPOGRAPHIC = re.compile("[\u2018\u2019\u201c\u201d\u00ab\u00bb\u2013\u2014\u2026\u00a0\ufeff\t]")


def words(document: Document) -> int:
    return len(document.page_content.split())


def references(document: Document) -> set[str]:
    return set(REFERENCE.findall(document.page_content)) - {str(document.id)}


def restricted(document: Document) -> bool:
    return EVERYONE not in document.metadata["acl"]


def had_earlier_edition(document: Document) -> bool:
    """A document whose editions share one id was there before its stored date, unless it is the first edition."""
    return document.metadata["version"] != "1" and re.search(r"v\d+$", str(document.id)) is None


def test_first_forty_documents_are_there(documents: Documents) -> None:
    assert len(documents) >= 40
    assert {document.metadata["collection"] for document in documents.values()} == set(COLLECTIONS)


def test_every_file_is_read_and_ids_are_unique(document_paths: list[Path], documents: Documents) -> None:
    repeated = [stem for stem, count in Counter(path.stem for path in document_paths).items() if count > 1]
    assert not repeated
    assert {path.stem for path in document_paths} == set(documents), "a file lies outside the six collections"


def test_front_matter(document_paths: list[Path]) -> None:
    faults = []
    for path in document_paths:
        _, header, _ = path.read_text("utf-8").split("---\n", 2)
        front = yaml.safe_load(header)
        date = front["date"]
        checks = {
            "keys, in order": tuple(front) == KEYS,
            "id is the file's name and starts with its collection's letters": front["id"] == path.stem
            and path.stem.startswith(f"{PREFIXES[path.parent.name]}-")
            and REFERENCE.fullmatch(path.stem) is not None,
            "collection is the folder": front["collection"] == path.parent.name,
            "title is text": isinstance(front["title"], str) and front["title"] == front["title"].strip() != "",
            "version is a quoted whole number": isinstance(front["version"], str) and front["version"].isdecimal(),
            f"date is a day up to {LAST_DAY}": type(date) is dt.date and date <= LAST_DAY,
            "status": front["status"] in ("current", "superseded"),
            "owner is a team of company.md": front["owner"] in OWNERS,
            "acl: [everyone] or groups of company.md": front["acl"] == [EVERYONE]
            or (len(front["acl"]) > 0 and set(front["acl"]) <= GROUPS - {EVERYONE}),
            "family is a slug": re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", front["family"]) is not None,
        }
        faults += [f"{path.name}: {rule}" for rule, kept in checks.items() if not kept]
    assert not faults


def test_bulletin_ids_carry_the_month_of_issue(documents: Documents) -> None:
    faults = [
        key for key, document in documents.items() if key.startswith("CB-") and key[3:] != document.metadata["date"][:7]
    ]
    assert not faults


def test_body_starts_with_the_title_and_has_a_sane_length(documents: Documents) -> None:
    faults = []
    for key, document in documents.items():
        if not document.page_content.startswith(f"# {document.metadata['title']}\n"):
            faults.append(f"{key}: the heading is not the title")
        if words(document) not in WORDS:
            faults.append(f"{key}: {words(document)} words")
    assert not faults


def test_plain_characters_and_no_html(document_paths: list[Path]) -> None:
    faults = []
    for path in document_paths:
        text = path.read_text("utf-8")
        faults += [f"{path.name}: {found[0]!r}" for found in TYPOGRAPHIC.finditer(text)]
        faults += [f"{path.name}: {found[0]!r}" for found in re.finditer(r"<[A-Za-z/!][^>\n]*>", text)]
    assert not faults


def test_table_rows_have_their_header_s_cells(documents: Documents) -> None:
    faults = []
    for key, document in documents.items():
        for block in document.page_content.split("\n\n"):
            rows = [line for line in block.split("\n") if line.startswith("|")]
            faults += [f"{key}: {row}" for row in rows if row.count("|") != rows[0].count("|")]
            if rows and re.fullmatch(r"\|(---\|)+", rows[1]) is None:
                faults.append(f"{key}: no rule under the header {rows[0]}")
    assert not faults


def test_references_lead_to_documents(documents: Documents) -> None:
    faults = [
        f"{key}: {cited}" for key, document in documents.items() for cited in references(document) - set(documents)
    ]
    assert not faults


def test_no_document_cites_one_that_was_not_yet_written(documents: Documents) -> None:
    faults = [
        f"{key} of {document.metadata['date']} cites {cited}, first issued {documents[cited].metadata['date']}"
        for key, document in documents.items()
        for cited in references(document) & set(documents)
        if documents[cited].metadata["date"] > document.metadata["date"] and not had_earlier_edition(documents[cited])
    ]
    assert not faults


def test_public_documents_do_not_cite_restricted_ones(documents: Documents) -> None:
    faults = [
        f"{key} cites {cited}"
        for key, document in documents.items()
        for cited in references(document) & set(documents)
        if restricted(documents[cited]) and not restricted(document)
    ]
    assert not faults


def test_superseded_documents_lead_to_their_successor(documents: Documents) -> None:
    faults = []
    for key, document in documents.items():
        old, successor = document.metadata, document.metadata["superseded_by"]
        if (old["status"] == "superseded") != (successor is not None):
            faults.append(f"{key}: status {old['status']}, superseded_by {successor}")
        if successor is None:
            continue
        new = documents[successor].metadata if successor in documents else None
        if new is None or new["status"] != "current":
            faults.append(f"{key}: {successor} is not a current document")
        elif new["family"] != old["family"] or new["date"] <= old["date"] or int(new["version"]) <= int(old["version"]):
            faults.append(f"{key}: {successor} must be of the same family, later, with a higher version")
    assert not faults


def test_heron_is_named_only_where_access_is_restricted(documents: Documents) -> None:
    faults = [
        key
        for key, document in documents.items()
        if not restricted(document)
        and re.search("heron", f"{document.metadata['title']} {document.page_content}", re.I)
    ]
    assert not faults
