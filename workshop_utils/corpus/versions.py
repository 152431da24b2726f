"""Versions of a document: which of them was in force on a day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from langchain_core.documents import Document

from workshop_utils.errors import InputError


def in_force(documents: Iterable[Document], date: str) -> list[Document]:
    """The documents that had been published by that day and not yet been replaced by their next version.

    A document's version is in force from its own date until that of the document in ``superseded_by``.

    Args:
        documents: with ``date`` and ``superseded_by`` in their metadata, as ``load_documents`` returns them.
        date: ISO text, the day included.

    Raises:
        InputError: ``date`` is no date.
    """
    try:
        day = dt.date.fromisoformat(date).isoformat()
    except ValueError as error:
        raise InputError(f"{date!r} is no date. Write it as 2026-01-08.") from error
    published = {str(document.id): document for document in documents if document.metadata["date"] <= day}
    return [document for document in published.values() if document.metadata["superseded_by"] not in published]
