"""What a source tells about itself: documents that changed, documents that are gone, and how far one has read."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from langchain_core.documents import Document

# stands in an access list that would be empty, which Chroma refuses; it is the name of no group
NO_READER = "(no reader)"
DOCUMENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Change:
    """A document that is new or may have changed, in full."""

    document: Document


@dataclass(frozen=True)
class Deletion:
    """The id of a document that the source no longer holds."""

    id: str


@dataclass(frozen=True)
class Failure:
    """A page or file that could not be read, and why. Its document counts as gone: its old text may be wrong."""

    name: str
    reason: str


@dataclass(frozen=True)
class Checkpoint:
    """All that came before is told: who keeps ``state`` (JSON) need not hear it again.

    Attributes:
        documents: ids of all that the source holds now.
    """

    state: dict[str, Any]
    documents: frozenset[str]


Event = Change | Deletion | Failure | Checkpoint


class Source(Protocol):
    """A system of documents that can tell what has changed."""

    @property
    def name(self) -> str:
        """What its documents and its state are filed under; the same at each run."""
        ...

    def changes(self, state: Mapping[str, Any] | None, again: Collection[str] = ()) -> Iterator[Event]:
        """What has changed since ``state``, the last checkpoint; everything that there is when None.

        Args:
            again: ids of documents to be told of even if they have not changed.
        """
        ...


class Register:
    """Which page or file a document comes from, as known from the last run and as found in this one.

    A page names its document itself, so two may claim the same one; who had it first keeps it. Otherwise whoever may
    write any page could put their text in a restricted document's place.

    Args:
        known: entries of the last run, by the source's own id; each has the ``document`` that was made of it.
        again: ids of documents about which nothing else counts as known.
    """

    def __init__(self, known: Mapping[str, dict[str, Any]], again: Collection[str] = ()) -> None:
        self.known = {
            key: {"document": entry["document"]} if entry["document"] in again else entry
            for key, entry in known.items()
        }
        self.entries: dict[str, dict[str, Any]] = {}
        self._owner = {entry["document"]: key for key, entry in known.items() if entry["document"]}
        self._before = set(self._owner)

    def claim(self, key: str, document: str) -> None:
        """Note that the item ``key`` is about to become this document.

        Raises:
            ValueError: another item is that document.
        """
        owner = self._owner.setdefault(document, key)
        if owner != key:
            raise ValueError(f"it calls itself {document}, as {owner} does: give it a document id of its own")

    def keep(self, key: str, entry: dict[str, Any]) -> None:
        """Note what an item is now; a failed one has no document."""
        self.entries[key] = entry

    def forget(self, key: str) -> None:
        """Note that an item is no longer there."""
        for entry in (self.entries.pop(key, None), self.known.get(key)):
            if entry and self._owner.get(entry["document"]) == key:
                del self._owner[entry["document"]]

    def close(self, state: dict[str, Any]) -> Iterator[Event]:
        """The end of a run: the documents that no item is any more, and the checkpoint."""
        now = frozenset(entry["document"] for entry in self.entries.values() if entry["document"])
        yield from (Deletion(document) for document in sorted(self._before - now))
        yield Checkpoint({**state, "items": self.entries}, now)


def document_id(named: str, otherwise: str) -> str:
    """The company's own id of a document where the source names a proper one, else the source's."""
    return named if DOCUMENT_ID.fullmatch(named) else otherwise


def one_line(text: str, longest: int = 300) -> str:
    """Text fit for a title or a message: no line breaks or control characters, and not endless."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:longest]


def access_list(readers: Iterable[str]) -> list[str]:
    """The readers, sorted, as Chroma can filter by them; nobody when there are none."""
    return sorted(set(readers)) or [NO_READER]
