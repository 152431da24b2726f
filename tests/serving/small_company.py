"""Small sources in the form of data/: a few documents in both systems, and two batches of updates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml
from langchain_core.documents import Document

from workshop_utils.authoring.datasets import confluence, sharepoint
from workshop_utils.corpus.connectors import ConfluenceLoader, SharePointLoader
from workshop_utils.serving import sources

URL = "http://stand-in"
HOURS = "| Site | Hours |\n|---|---|\n" + "\n".join(f"| Site {n} | {n}:00 to 1{n}:30 |" for n in range(7))


def document(key: str, body: str, **changes: Any) -> Document:
    """A document as ``load_documents`` reads it."""
    collection = {"HR": "hr-policies", "IT": "it-faq", "KB": "support-articles"}
    collection |= {"PM": "product-manuals", "RA": "regulatory-archive", "CB": "clinical-bulletins"}
    metadata = {
        "id": key,
        "title": f"Title of {key}",
        "collection": collection[key[:2]],
        "version": "1",
        "date": "2025-01-15",
        "status": "current",
        "superseded_by": None,
        "owner": "People team",
        "acl": ["everyone"],
        "family": key.lower(),
    } | changes
    return Document(id=key, page_content=f"# {metadata['title']}\n\n{body}\n", metadata=metadata)


FIRST = (
    document("HR-01", "You have **26 days** of leave, see IT-01.\n\n## How\n\n- ask early\n- tell & write\n"),
    document("HR-02", "A case of one person.", acl=["hr", "legal"], version="4"),
    document("IT-01", f"## Opening hours\n\n{HOURS}\n\nCall <ext. 2200> or run `reset`."),
    document("KB-101", "1. Stop.\n2. Wait.", status="superseded", superseded_by="KB-102"),
    document("PM-01", "Holds 50 ml.\n\n## Data\n\n| Ref. | Value |\n|---|---|\n| A-1 | 0.10 ml |\n| A-2 | 20 |"),
    document("PM-02", "The new pump is called Heron.", acl=["heron-team", "qra"]),
)
# date, documents, ids of those deleted
UPDATES: tuple[tuple[str, tuple[Document, ...], tuple[str, ...]], ...] = (
    (
        "2025-12-03",
        (
            document("HR-01", "You have **28 days** of leave.", version="2", date="2025-12-01"),
            document("IT-02", "A new page."),
            document("PM-01", "Holds 60 ml.", version="2", date="2025-12-02"),
        ),
        ("KB-101",),
    ),
    (
        "2026-01-08",
        (
            document("HR-02", "A case of one person.", version="5"),
            document("IT-01", "Closed.", version="2", acl=["it-admins"]),
            document("PM-03", "A new file."),
        ),
        ("PM-02",),
    ),
)


def write(folder: Path) -> Path:
    """Write the sources; files are workbooks, the quickest to read."""
    titles = {str(one.id): str(one.metadata["title"]) for one in FIRST}
    _write(folder / "sources", FIRST, titles)
    for date, documents, deleted in UPDATES:
        titles |= {str(one.id): str(one.metadata["title"]) for one in documents}
        _write(folder / "updates" / date / "sources", documents, titles)
        header = yaml.safe_dump({"date": date, "title": "Changes", "deleted": list(deleted)})
        (folder / "updates" / date / "update.yaml").write_text(header, "utf-8")
    return folder


def after(batches: int) -> dict[str, Document]:
    """The documents as they stand after so many batches."""
    current = {str(one.id): one for one in FIRST}
    for _, documents, deleted in UPDATES[:batches]:
        current = {key: one for key, one in current.items() if key not in deleted}
        current |= {str(one.id): one for one in documents}
    return current


def in_confluence(documents: dict[str, Document]) -> dict[str, Document]:
    """Those of them that are pages."""
    return {key: one for key, one in documents.items() if one.metadata["collection"] in confluence.COLLECTIONS}


def in_sharepoint(documents: dict[str, Document]) -> dict[str, Document]:
    """Those of them that are files."""
    return {key: one for key, one in documents.items() if one.metadata["collection"] in sharepoint.FOLDERS}


def _write(folder: Path, documents: Sequence[Document], titles: dict[str, str]) -> None:
    known = {str(one.id): one for one in documents}
    confluence.write_space(folder / "confluence", list(in_confluence(known).values()), titles)
    before = dict(sharepoint.FORMATS)
    sharepoint.FORMATS.update(dict.fromkeys(known, "xlsx"))
    try:
        sharepoint.write_library(folder / "sharepoint", list(in_sharepoint(known).values()))
    finally:
        sharepoint.FORMATS.clear()
        sharepoint.FORMATS.update(before)


def words(text: str) -> list[str]:
    """Words and figures alone."""
    return re.findall(r"[a-z0-9]+(?:[.,:/-][a-z0-9]+)*", text.lower().replace("*", "").replace("`", ""))


def no_sleep(_: float) -> None:
    """Waits no time."""


def pages(transport: httpx.BaseTransport, **settings: Any) -> ConfluenceLoader:
    """The connector of Confluence Cloud on the stand-in."""
    usual: dict[str, Any] = {"token": sources.CONFLUENCE_TOKEN, "email": sources.EMAIL, "sleep": no_sleep}
    return ConfluenceLoader(f"{URL}/wiki", "CLV", transport=transport, **(usual | settings))


def files(transport: httpx.BaseTransport, **settings: Any) -> SharePointLoader:
    """The connector of SharePoint on the stand-in."""
    usual: dict[str, Any] = {
        "site": sources.SITE,
        "tenant": sources.TENANT,
        "client_id": sources.CLIENT_ID,
        "client_secret": sources.CLIENT_SECRET,
        "base_url": URL,
        "login_url": URL,
        "sleep": no_sleep,
    }
    return SharePointLoader(transport=transport, **(usual | settings))
