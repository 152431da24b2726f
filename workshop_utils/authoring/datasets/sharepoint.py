"""Documents as a SharePoint library holds them: office files in folders, columns and permissions."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain_core.documents import Document

from workshop_utils.authoring.datasets import office
from workshop_utils.corpus.documents import EVERYONE

LIBRARY = {"site": "Clairval Product Documentation", "drive": "Documents"}
FOLDERS = {
    "product-manuals": "Product manuals",
    "regulatory-archive": "Regulatory archive",
    "clinical-bulletins": "Clinical bulletins",
}
WRITERS = {
    "docx": office.docx_file,
    "pdf": office.pdf_file,
    "pptx": office.pptx_file,
    "xlsx": office.xlsx_file,
}
# a catalogue is kept as a workbook, a talk as slides, what is archived or sent out as PDF, what is worked on as Word
FORMATS = {"PM-12": "xlsx", "CB-2024-09": "pptx", "CB-2025-08": "pptx"}


def write_library(folder: Path, documents: Sequence[Document]) -> None:
    """Write the files of these documents into folders, and ``library.json``, which lists them."""
    items = []
    for document in documents:
        path = item_path(document)
        content = WRITERS[path.suffix[1:]](document)
        (folder / "files" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "files" / path).write_bytes(content)
        items.append(_item(document, path))
    library = {"library": LIBRARY, "items": items}
    (folder / "library.json").write_text(json.dumps(library, indent=1, ensure_ascii=False) + "\n", "utf-8")


def item_id(document: str) -> str:
    """The id by which Graph knows the file: the same one for every version."""
    return "01" + hashlib.sha256(document.encode()).hexdigest()[:32].upper()


def item_path(document: Document) -> Path:
    """Folder and name of the document's file."""
    metadata = document.metadata
    top = Path(FOLDERS[metadata["collection"]])
    if metadata["collection"] == "clinical-bulletins":
        top /= metadata["date"][:4]
    if metadata["status"] == "superseded":
        top /= "Superseded"
    if EVERYONE not in metadata["acl"]:
        top /= "Restricted"
    name = re.sub(r'[<>:"/\\|?*]+', "", f"{document.id} {metadata['title']}")
    return top / f"{name}.{_format(document)}"


def _format(document: Document) -> str:
    metadata = document.metadata
    sent_out = metadata["collection"] == "clinical-bulletins" or metadata["status"] == "superseded"
    return FORMATS.get(str(document.id), "pdf" if sent_out else "docx")


def _item(document: Document, path: Path) -> dict[str, Any]:
    metadata = document.metadata
    return {
        "id": item_id(str(document.id)),
        "path": path.as_posix(),
        "version": int(metadata["version"]),
        "when": f"{metadata['date']}T09:00:00Z",
        "read_groups": [] if EVERYONE in metadata["acl"] else metadata["acl"],
        "columns": {
            "document": document.id,
            "title": metadata["title"],
            "collection": metadata["collection"],
            "status": metadata["status"],
            "superseded_by": metadata["superseded_by"],
            "owner": metadata["owner"],
            "family": metadata["family"],
        },
    }
