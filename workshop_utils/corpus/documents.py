"""Documents: Markdown files with YAML front matter, read into LangChain ``Document`` objects."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from langchain_core.documents import Document

from workshop_utils.errors import WorkshopError

COLLECTIONS = (
    "hr-policies",
    "it-faq",
    "product-manuals",
    "support-articles",
    "regulatory-archive",
    "clinical-bulletins",
)
KEYS = ("id", "title", "collection", "version", "date", "status", "superseded_by", "owner", "acl", "family")
EVERYONE = "everyone"


class CorpusError(WorkshopError):
    """A document or a question breaks the schema of data/DATASHEET.md; the message names the file and the fault."""


def data_dir() -> Path:
    """The project's data folder."""
    return Path(__file__).resolve().parents[2] / "data"


def load_documents(
    folder: Path | None = None,
    *,
    collections: Iterable[str] = COLLECTIONS,
    groups: Iterable[str] | None = (EVERYONE,),
    superseded: bool = True,
) -> list[Document]:
    """The company's documents, sorted by id.

    Args:
        folder: where the collections are; the project's own documents when None.
        collections: which of them to read.
        groups: the reader's access groups: a document comes only if its access list shares one; None reads all.
        superseded: whether old versions that were replaced come too.

    Returns:
        Documents with ``id``, Markdown text and the front matter as metadata (``date`` as ISO text).

    Raises:
        CorpusError: a file breaks the schema.
    """
    root = folder or data_dir() / "documents"
    paths = [path for name in collections for path in sorted((root / name).glob("*.md"))]
    documents = sorted((read_document(path) for path in paths), key=lambda document: document.metadata["id"])
    allowed = None if groups is None else set(groups)
    return [
        document
        for document in documents
        if (allowed is None or allowed & set(document.metadata["acl"]))
        and (superseded or document.metadata["status"] == "current")
    ]


def read_document(path: Path) -> Document:
    """One document of the corpus.

    Raises:
        CorpusError: the front matter is missing, is not YAML, or lacks or has too many keys.
    """
    try:
        before, header, body = path.read_text("utf-8-sig").split("---\n", 2)
        metadata: dict[str, Any] = yaml.safe_load(header)
        if before:
            raise ValueError("the first line must be '---'")
    except (ValueError, yaml.YAMLError) as error:
        raise CorpusError(f"{path.name}: no readable front matter between '---' lines ({error})") from error
    if not isinstance(metadata, dict) or tuple(metadata) != KEYS:
        raise CorpusError(f"{path.name}: the front matter must have exactly the keys {', '.join(KEYS)}, in this order")
    if metadata["id"] != path.stem or metadata["collection"] != path.parent.name:
        raise CorpusError(f"{path.name}: id and collection must be those of the file's name and folder")
    if not isinstance(metadata["date"], dt.date) or not isinstance(metadata["acl"], list) or not metadata["acl"]:
        raise CorpusError(f"{path.name}: date must be an ISO date, acl a list of at least one group")
    metadata["date"] = metadata["date"].isoformat()
    return Document(id=metadata["id"], page_content=body.strip() + "\n", metadata=metadata)
