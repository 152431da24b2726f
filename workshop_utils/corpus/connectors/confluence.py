"""Confluence, Cloud and Data Center, as LangChain documents with their access lists.

Version 1 of the REST interface: https://developer.atlassian.com/server/confluence/confluence-rest-api-examples/
Version 2, of Cloud only: https://developer.atlassian.com/cloud/confluence/rest/v2/
"""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Literal

import httpx
from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document

from workshop_utils.corpus.connectors.changes import (
    Change,
    Event,
    Failure,
    Register,
    access_list,
    document_id,
    one_line,
)
from workshop_utils.corpus.connectors.files import file_to_markdown, is_readable
from workshop_utils.corpus.connectors.http import (
    ITEM_ERRORS,
    Bearer,
    Client,
    HttpError,
    SourceError,
    UnexpectedAnswerError,
    reason,
    stop_unless_local,
)
from workshop_utils.corpus.connectors.storage_format import read_storage_format
from workshop_utils.corpus.documents import COLLECTIONS, EVERYONE
from workshop_utils.errors import InputError

SPACE_KEY = re.compile(r"~?[A-Za-z0-9._:-]{1,255}")
ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
# a search compares times in the time zone of the account's profile
OVERLAP = dt.timedelta(days=1)
READ = "read.restrictions.user,read.restrictions.group,restrictions.user,restrictions.group"
FULL = "version,ancestors,body.storage,metadata.labels"
DOWNLOAD_HOSTS = ("api.media.atlassian.com",)


class ConfluenceLoader(BaseLoader):
    """The pages of one space, and the files attached to them if asked for.

    A page's document id is the one that its page properties name ('Document: HR-01'), else the page's own number. The
    access list holds the groups, and users as ``user:ID``, that its read restrictions let through, and so do those
    of every page above it: a page inherits them, and the interface tells only its own. Where several pages restrict,
    readers must be named by each.

    Args:
        base_url: for Cloud ``https://example.atlassian.net/wiki``; for Data Center up to ``/rest``.
        space: the space's key.
        token: an API token of Cloud, or a personal access token of Data Center.
        email: the account that a Cloud token belongs to; None for Data Center.
        api: ``v2`` exists in Cloud only, and knows neither restrictions nor searching: these stay with ``v1``.
        attachments: also read the files attached to pages, each as a document of its own.
        readers: who may read what nothing restricts, that is, who may see the space.
        page_size: how many pages to ask for at once; the server may send fewer.
        transport: how requests are carried; the network when None.
        sleep: waits between attempts.

    Attributes:
        failures: what the last ``load`` or ``lazy_load`` could not read.

    Raises:
        InputError: ``base_url`` or ``space`` is none.
    """

    def __init__(
        self,
        base_url: str,
        space: str,
        *,
        token: str,
        email: str | None = None,
        api: Literal["v1", "v2"] = "v1",
        attachments: bool = False,
        readers: Sequence[str] = (EVERYONE,),
        page_size: int = 50,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not SPACE_KEY.fullmatch(space):
            raise InputError(f"{space!r} is no space key. It stands in the address of the space, after /spaces/.")
        auth = httpx.BasicAuth(email, token) if email else Bearer(token)
        self.client = Client(base_url, auth, download_hosts=DOWNLOAD_HOSTS, transport=transport, sleep=sleep)
        self.space, self.api, self.attachments = space, api, attachments
        self.readers, self.page_size = tuple(readers), page_size
        self.failures: list[Failure] = []

    @property
    def name(self) -> str:
        """What its documents are filed under in an index."""
        return f"confluence:{self.client.base}{self.client.path}:{self.space}"

    def lazy_load(self) -> Iterator[Document]:
        """Every page that the token may read.

        Raises:
            SourceError: Confluence cannot be reached, refuses the token, or has no such space.
        """
        self.failures = []
        for event in self.changes(None):
            match event:
                case Change(document):
                    yield document
                case Failure():
                    self.failures.append(event)

    def changes(self, state: Mapping[str, Any] | None, again: Collection[str] = ()) -> Iterator[Event]:
        """What has changed since ``state``, and the documents ``again``; everything when there is no state.

        Deletions and restrictions leave no trace in the dates of a page, so each run lists the space without its
        texts and asks for every page's restrictions. Texts are fetched only where version, title or readers differ;
        labels are read with them, since a label makes no version either.

        Raises:
            SourceError: as for ``lazy_load``.
        """
        run = _Run(self, state, again)
        yield from run.events()
        yield from run.register.close({"latest": run.latest})


class _Run:
    """One pass over a space: what was known, what is there, and the restrictions asked for so far."""

    def __init__(self, loader: ConfluenceLoader, state: Mapping[str, Any] | None, again: Collection[str]) -> None:
        self.loader, self.client = loader, loader.client
        self.v2 = loader.api == "v2"
        self.first = state is None
        self.latest = str(state["latest"]) if state else ""
        self.register = Register(state["items"] if state else {}, again)
        self.restrictions: dict[str, frozenset[str] | None] = {}
        self.parents: dict[str, list[str]] = {}

    def events(self) -> Iterator[Event]:
        space = self._space()
        if self.first:
            listed, recent = self._pages(space, texts=True), {}
        else:
            listed = iter(self._listed(space))
            recent = {page["id"]: page for page in self._changed_since(self.latest)}
        for page in listed:
            if page["id"] not in self.register.entries:  # the listing moves while it is read
                self.latest = max(self.latest, _moment(page))
                yield from self._page(page, recent.get(page["id"]))

    def _listed(self, space: str) -> list[dict[str, Any]]:
        """The pages that are there, without their texts; those of the last run that are not are forgotten."""
        pages = list(self._pages(space, texts=False))
        present = {page["id"] for page in pages}
        for key, entry in self.register.known.items():
            if "page" not in entry and key not in present:
                # a page deleted while the listing is read moves the next one out of sight: ask before it counts as gone
                page = self._alone(key)
                if page is None or space not in (page.get("spaceId"), page.get("space", {}).get("key")):
                    self.register.forget(key)
                else:
                    pages.append(page)
        return pages

    def _page(self, listed: dict[str, Any], found: dict[str, Any] | None) -> Iterator[Event]:
        """A page that is in the space, and its files."""
        key, title = str(listed["id"]), one_line(listed["title"])
        document = None
        try:
            acl = self._acl(listed)
            entry = {"document": None, "version": listed["version"]["number"], "title": title, "acl": acl}
            known = self.register.known.get(key, {})
            if {**known, "document": None} == entry:
                entry = known
            else:
                document = self._document(self._with_text(listed, found), acl)
            if document is not None:
                self.register.claim(key, str(document.id))
                entry["document"] = document.id
        except ITEM_ERRORS as error:
            stop_unless_local(error)
            self.register.keep(key, {"document": None})
            yield Failure(f"page {key} '{title}'", reason(error))
            return
        self.register.keep(key, entry)
        if document is not None:
            yield Change(document)
        if self.loader.attachments:
            yield from self._files(key, entry, acl)

    # -- what the interfaces offer --

    def _space(self) -> str:
        """What the space is called in the listing: its key for v1, its number for v2."""
        key = self.loader.space
        missing = (
            f"There is no space {key} at {self.client.base}, or the account may not see it. The key stands in the "
            "address of the space, after /spaces/ or /display/."
        )
        if self.v2:
            spaces = self.client.get_json("/api/v2/spaces", keys=key).get("results")
            if not spaces:
                raise SourceError(missing)
            return str(spaces[0]["id"])
        try:
            self.client.get_json(f"/rest/api/space/{key}")
        except HttpError as error:
            if error.status != 404:
                raise
            raise SourceError(f"{missing} It is also possible that base_url is wrong.") from error
        return key

    def _pages(self, space: str, texts: bool) -> Iterator[dict[str, Any]]:
        size = self.loader.page_size
        if self.v2:
            body = {"body-format": "storage"} if texts else {}
            yield from self._results(f"/api/v2/spaces/{space}/pages", limit=size, status="current", **body)
        else:
            expand = FULL if texts else "version,ancestors"
            query = {"spaceKey": space, "type": "page", "status": "current", "expand": expand}
            yield from self._results("/rest/api/content", start=0, limit=size, **query)

    def _changed_since(self, moment: str) -> Iterator[dict[str, Any]]:
        since = (dt.datetime.fromisoformat(moment) - OVERLAP) if moment else dt.datetime(1970, 1, 1)
        cql = f'space="{self.loader.space}" and type=page and lastmodified>="{since:%Y-%m-%d %H:%M}"'
        yield from self._results("/rest/api/content/search", cql=cql, start=0, limit=self.loader.page_size, expand=FULL)

    def _with_text(self, listed: dict[str, Any], found: dict[str, Any] | None) -> dict[str, Any]:
        """The page with its text: as listed, as the search found it unless its index lags, or fetched alone."""
        for page in (listed, found):
            if page and "storage" in page.get("body", {}) and page["version"]["number"] == listed["version"]["number"]:
                return page
        page = self._alone(str(listed["id"]))
        if page is None:
            raise ValueError("it was deleted a moment ago")
        return page

    def _alone(self, key: str) -> dict[str, Any] | None:
        """One page with its text; None when it is no more."""
        try:
            if self.v2:
                page = self.client.get_json(f"/api/v2/pages/{key}", **{"body-format": "storage"})
            else:
                page = self.client.get_json(f"/rest/api/content/{key}", expand=f"space,{FULL}")
        except HttpError as error:
            if error.status != 404:
                raise
            return None
        return page if page.get("status") == "current" else None

    def _labels(self, page: dict[str, Any]) -> list[str]:
        if "metadata" in page:
            labels = page["metadata"]["labels"]["results"]
        else:
            labels = self._results(f"/api/v2/pages/{page['id']}/labels", limit=self.loader.page_size)
        return [one_line(label["name"]) for label in labels]

    def _results(self, link: str, **params: str | int) -> Iterator[dict[str, Any]]:
        for answer in self.client.pages(link, _next, **params):
            if not isinstance(answer.get("results"), list):
                raise UnexpectedAnswerError(f"{link} lists no results. Check base_url.")
            yield from answer["results"]

    # -- who may read --

    def _acl(self, page: dict[str, Any]) -> list[str]:
        limits = [
            readers for key in (str(page["id"]), *self._above(page)) if (readers := self._readers(key)) is not None
        ]
        return access_list(frozenset.intersection(*limits) if limits else self.loader.readers)

    def _above(self, page: dict[str, Any]) -> list[str]:
        """The ids of the pages above a page; in v2 they are asked for once for all that lie side by side."""
        if "ancestors" in page:
            return [str(above["id"]) for above in page["ancestors"]]
        parent = page.get("parentId")
        if not parent:
            return []
        if parent not in self.parents:
            found = self._results(f"/api/v2/pages/{page['id']}/ancestors", limit=self.loader.page_size)
            self.parents[parent] = [str(above["id"]) for above in found]
        return self.parents[parent]

    def _readers(self, key: str) -> frozenset[str] | None:
        """Whom a page's own read restriction names; None when there is none."""
        if key not in self.restrictions:
            answer = self.client.get_json(f"/rest/api/content/{key}/restriction/byOperation", expand=READ)
            named = answer["read"]["restrictions"]
            groups = {str(group.get("name") or group["id"]) for group in named["group"]["results"]}
            users = {f"user:{user.get('accountId') or user['username']}" for user in named["user"]["results"]}
            self.restrictions[key] = frozenset(groups | users) or None
        return self.restrictions[key]

    # -- what becomes of it --

    def _document(self, page: dict[str, Any], acl: list[str]) -> Document | None:
        """The page as a document; None when it says nothing, as a page that only lists those below it."""
        text = read_storage_format(page["body"]["storage"]["value"])
        if not text.markdown:
            return None
        properties, labels = text.properties, self._labels(page)
        key = document_id(properties.get("document", ""), str(page["id"]))
        title = one_line(page["title"]).removeprefix(f"{key} ")
        dated = properties.get("date", "")
        metadata = {
            "id": key,
            "title": title,
            "collection": next((label for label in labels if label in COLLECTIONS), self.loader.space),
            "version": properties.get("version") or str(page["version"]["number"]),
            "date": dated if ISO_DATE.fullmatch(dated) else _moment(page)[:10],
            "status": properties.get("status", "current"),
            "superseded_by": properties.get("superseded by"),
            "owner": properties.get("owner"),
            "acl": acl,
            "family": properties.get("family"),
            "labels": labels,
            "url": f"{self.client.base}{self.client.path}{page.get('_links', {}).get('webui', '')}",
            "source_id": str(page["id"]),
        }
        known = {name: value for name, value in metadata.items() if value not in (None, "", [])}
        return Document(id=key, page_content=f"# {title}\n\n{text.markdown}", metadata=known)

    def _files(self, page: str, parent: dict[str, Any], acl: list[str]) -> Iterator[Event]:
        """The attachments of a page, read again where they or the page's readers changed."""
        link = f"/api/v2/pages/{page}/attachments" if self.v2 else f"/rest/api/content/{page}/child/attachment"
        expand = {} if self.v2 else {"expand": "version"}
        for file in self._results(link, limit=self.loader.page_size, **expand):
            key, name = str(file["id"]), one_line(file["title"])
            if not is_readable(name):
                continue
            made = f"{parent['document'] or page}-{key}"
            version = file["version"]["number"]
            entry = {"document": made, "version": version, "title": name, "acl": acl, "page": page}
            if entry != self.register.known.get(key):
                try:
                    self.register.claim(key, made)
                    text = self._file(file, name, f"{parent['title']}: {name}")
                except ITEM_ERRORS as error:
                    stop_unless_local(error)
                    self.register.keep(key, {"document": None, "page": page})
                    yield Failure(f"attachment '{name}' of page {page}", reason(error))
                    continue
                metadata = {
                    "id": made,
                    "title": f"{parent['title']}: {name}",
                    "collection": self.loader.space,
                    "version": str(version),
                    "status": "current",
                    "acl": acl,
                    "attached_to": parent["document"] or page,
                    "source_id": key,
                }
                yield Change(Document(id=made, page_content=text, metadata=metadata))
            self.register.keep(key, entry)

    def _file(self, file: dict[str, Any], name: str, title: str) -> str:
        content = self.client.download(file.get("downloadLink") or file["_links"]["download"])
        return file_to_markdown(name, content, title)


def _next(answer: dict[str, Any]) -> str | None:
    """The link to the next page; v1 and v2 put it in the same place."""
    link = answer.get("_links", {}).get("next")
    return None if link is None else str(link)


def _moment(page: dict[str, Any]) -> str:
    """When a page was last changed, as ISO text; nothing when it does not say so properly."""
    version = page["version"]
    text = str(version.get("when") or version.get("createdAt"))
    try:
        return text if dt.datetime.fromisoformat(text) else ""
    except ValueError:
        return ""
