"""What the company's Confluence space and SharePoint library hold at a date, and how it changes."""

from __future__ import annotations

import datetime as dt
import json
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from workshop_utils.corpus.documents import EVERYONE, data_dir
from workshop_utils.errors import InputError, WorkshopError


@dataclass(frozen=True)
class Page:
    """A page of the space.

    Attributes:
        document: the id of the company's document; empty for a page that only holds others together.
        above: the ids of the pages above it, from the top.
        groups: those named by its read restriction; none when it is not restricted.
        attachments: file name -> where its content lies.
    """

    id: str
    document: str
    title: str
    above: tuple[str, ...]
    version: int
    when: str
    labels: tuple[str, ...]
    groups: tuple[str, ...]
    body: str
    attachments: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class File:
    """A file of the library.

    Attributes:
        tick: the change that made it what it is; the delta is in this order.
        groups: those who may read it; all staff when none are named.
    """

    id: str
    document: str
    path: str
    version: int
    when: str
    tick: int
    groups: tuple[str, ...]
    columns: dict[str, Any]
    content: Path | bytes
    deleted: bool = False

    def read(self) -> bytes:
        """The file's bytes."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


class Systems:
    """The two systems on a date: the first day's content, changed by each batch of the update stream in turn.

    Args:
        data: the project's data folder, or one laid out like it.
        at: the date to begin on, as ISO text; the first day when None.

    Raises:
        WorkshopError: the folder holds no sources.
        InputError: ``at`` is no date.
    """

    def __init__(self, data: Path | None = None, at: str | None = None) -> None:
        self.data = data or data_dir()
        self.pages: dict[str, Page] = {}
        self.files: dict[str, File] = {}
        self.tick = 0
        self.date: str | None = None
        self.space: dict[str, str] = {}
        self.library: dict[str, str] = {}
        if not (self.data / "sources" / "confluence" / "space.json").exists():
            raise WorkshopError(f"{self.data / 'sources'} holds no sources. Run 'workshop data --build'.")
        self._take(self.data / "sources", None)
        if at is not None:
            self.advance(at)

    @property
    def dates(self) -> list[str]:
        """The dates of the batches, oldest first."""
        folder = self.data / "updates"
        return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []

    def advance(self, to: str | None = None) -> list[str]:
        """Apply the batches up to a date, or only the next one when None, and return their dates.

        Raises:
            InputError: ``to`` is no date.
        """
        try:
            limit = dt.date.fromisoformat(to).isoformat() if to is not None else None
        except ValueError as error:
            raise InputError(f"{to!r} is no date. Write it as 2026-01-08.") from error
        due = [date for date in self.dates if self.date is None or date > self.date]
        due = due[:1] if limit is None else [date for date in due if date <= limit]
        for date in due:
            folder = self.data / "updates" / date
            for document in yaml.safe_load((folder / "update.yaml").read_text("utf-8"))["deleted"]:
                self.delete(document)
            self._take(folder / "sources", date)
            self.date = date
        return due

    # -- what people do to documents --

    def edit(self, document: str, old: str, new: str) -> None:
        """Replace words on a page.

        Raises:
            InputError: the document is no page, or the page does not hold the words.
        """
        page = self._page(document)
        if escape(old, quote=False) not in page.body:
            raise InputError(f"{document} does not say {old!r}.")
        body = page.body.replace(escape(old, quote=False), escape(new, quote=False))
        self._save(page, body=body)

    def rename(self, document: str, title: str) -> None:
        """Give a page or a file another title; the file's name is the title too.

        Raises:
            InputError: there is no such document.
        """
        found = self.find(document)
        if isinstance(found, Page):
            self._save(found, title=f"{document} {title}")
            return
        path = PurePosixPath(found.path)
        name = re.sub(r'[<>:"/\\|?*]+', "", f"{document} {title}")
        self._put(found, path=str(path.with_name(f"{name}{path.suffix}")), columns={**found.columns, "title": title})

    def restrict(self, document: str, groups: Sequence[str]) -> None:
        """Let only these groups read a page or file, or everyone when there are none. No date or version changes.

        Raises:
            InputError: there is no such document.
        """
        named = tuple(group for group in groups if group != EVERYONE)
        found = self.find(document)
        if isinstance(found, Page):
            self.pages[found.id] = replace(found, groups=named)
        else:
            self.files[found.id] = replace(found, groups=named)

    def delete(self, document: str) -> None:
        """Delete a page or file.

        Raises:
            InputError: there is no such document.
        """
        found = self.find(document)
        if isinstance(found, Page):
            del self.pages[found.id]
        else:
            self._put(found, deleted=True)

    def replace_file(self, document: str, content: bytes) -> None:
        """Put another content into a file.

        Raises:
            InputError: there is no such file.
        """
        found = self.find(document)
        if isinstance(found, Page):
            raise InputError(f"{document} is a page: edit it.")
        self._put(found, content=content)

    def add_page(
        self, document: str, title: str, body: str, *, groups: Sequence[str] = (), labels: Sequence[str] = ()
    ) -> Page:
        """Write a new page; ``body`` is storage format, and may name any document in its properties."""
        key = str(10_000_000 + zlib.crc32(f"{document}{title}".encode()) % 90_000_000)
        page = Page(key, document, title, (), 1, self._now(), tuple(labels), tuple(groups), body)
        self.pages[key] = page
        return page

    def find(self, document: str) -> Page | File:
        """The page or file that is this document.

        Raises:
            InputError: there is none.
        """
        things: Iterable[Page | File] = (*self.pages.values(), *(f for f in self.files.values() if not f.deleted))
        for thing in things:
            if thing.document == document:
                return thing
        raise InputError(f"There is no document {document} in the systems now.")

    def _page(self, document: str) -> Page:
        found = self.find(document)
        if isinstance(found, File):
            raise InputError(f"{document} is a file: use replace_file.")
        return found

    def _save(self, page: Page, **changes: Any) -> None:
        self.pages[page.id] = replace(page, version=page.version + 1, when=self._now(), **changes)

    def _put(self, file: File, **changes: Any) -> None:
        self.tick += 1
        self.files[file.id] = replace(
            file, version=file.version + 1, tick=self.tick, when=self._now()[:19] + "Z", **changes
        )

    def _now(self) -> str:
        """The day after the latest change: the stream's clock, not this machine's."""
        latest = max([page.when for page in self.pages.values()], default="2025-01-01T09:00:00.000Z")
        moment = dt.datetime.fromisoformat(latest) + dt.timedelta(minutes=1)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")

    # -- reading what authoring.datasets wrote --

    def _take(self, folder: Path, date: str | None) -> None:
        space = json.loads((folder / "confluence" / "space.json").read_text("utf-8"))
        library = json.loads((folder / "sharepoint" / "library.json").read_text("utf-8"))
        self.space, self.library = space["space"], library["library"]
        for entry in space["pages"]:
            self._take_page(folder / "confluence", entry, date)
        for entry in library["items"]:
            self._take_file(folder / "sharepoint" / "files", entry)

    def _take_page(self, folder: Path, entry: dict[str, Any], date: str | None) -> None:
        key, before = entry["id"], self.pages.get(entry["id"])
        above = str(10_000_000 + zlib.crc32(entry["parent"].encode()) % 90_000_000)
        if above not in self.pages:
            self.pages[above] = Page(above, "", entry["parent"], (), 1, "2023-01-02T09:00:00.000Z", (), (), "<p></p>")
        self.pages[key] = Page(
            id=key,
            document=entry["document"],
            title=entry["title"],
            above=(above,),
            version=max(entry["version"], before.version + 1 if before else 1),
            when=entry["when"] if date is None else f"{date}T09:00:00.000Z",
            labels=tuple(entry["labels"]),
            groups=tuple(entry["read_groups"]),
            body=(folder / "pages" / f"{key}.xhtml").read_text("utf-8"),
            attachments={name: folder / "attachments" / key / name for name in entry["attachments"]},
        )

    def _take_file(self, folder: Path, entry: dict[str, Any]) -> None:
        self.tick += 1
        self.files[entry["id"]] = File(
            id=entry["id"],
            document=entry["columns"]["document"],
            path=entry["path"],
            version=entry["version"],
            when=entry["when"],
            tick=self.tick,
            groups=tuple(entry["read_groups"]),
            columns=entry["columns"],
            content=folder / entry["path"],
        )
