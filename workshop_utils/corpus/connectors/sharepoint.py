"""A SharePoint library through Microsoft Graph, as LangChain documents with their access lists.

The interface: https://learn.microsoft.com/graph/api/driveitem-delta, and driveitem-list-permissions beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, unquote

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
    MAX_FILE,
    Client,
    ClientCredentials,
    HttpError,
    SourceError,
    origin_of,
    reason,
    stop_unless_local,
)
from workshop_utils.corpus.documents import EVERYONE
from workshop_utils.errors import InputError

GRAPH, LOGIN = "https://graph.microsoft.com", "https://login.microsoftonline.com"
DOWNLOAD_HOSTS = (".sharepoint.com",)
# columns of a library that say what the company's documents say in their front matter
COLUMNS = ("title", "collection", "version", "date", "status", "superseded_by", "owner", "family")
READING_ROLES = {"read", "write", "owner"}
# the claim by which SharePoint names all members of the organisation
ALL_USERS = "spo-grid-all-users"


class SharePointLoader(BaseLoader):
    """The files of one document library: docx, pdf, pptx, xlsx, md and txt.

    A file's document id is the one in its column 'document', else the id of the file itself. The access list holds the
    groups, and users as ``user:ID``, that its permissions name, directly or through a link made for them. A link that
    works for whoever has it gives no right to find the file, so it is not counted.

    Args:
        site: host and path of the site, for example ``example.sharepoint.com/sites/handbook``.
        tenant: the directory's id or domain.
        client_id: of the application that is registered there; it needs the application right Sites.Read.All.
        client_secret: of that application.
        library: the name of the library, as shown on the site.
        base_url: where Microsoft Graph is; national clouds have their own.
        login_url: where tokens are given out.
        download_hosts: hosts that files may come from.
        transport: how requests are carried; the network when None.
        sleep: waits between attempts.

    Attributes:
        failures: what the last ``load`` or ``lazy_load`` could not read.

    Raises:
        InputError: ``site`` or a URL is none.
    """

    def __init__(
        self,
        site: str,
        *,
        tenant: str,
        client_id: str,
        client_secret: str,
        library: str = "Documents",
        base_url: str = GRAPH,
        login_url: str = LOGIN,
        download_hosts: Sequence[str] = DOWNLOAD_HOSTS,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        host, _, path = site.removeprefix("https://").strip("/").partition("/")
        if not host or not path or ":" in host:
            raise InputError(f"{site!r} is no site. It must look like example.sharepoint.com/sites/handbook.")
        self.site, self.library = f"{host}:/{path}", library
        origin_of(login_url)
        auth = ClientCredentials(
            f"{login_url.rstrip('/')}/{quote(tenant, safe='')}/oauth2/v2.0/token",
            client_id,
            client_secret,
            f"{base_url.rstrip('/')}/.default",
        )
        self.client = Client(base_url, auth, download_hosts=download_hosts, transport=transport, sleep=sleep)
        self.failures: list[Failure] = []

    @property
    def name(self) -> str:
        """What its documents are filed under in an index."""
        return f"sharepoint:{self.client.base}:{self.site}:{self.library}"

    def lazy_load(self) -> Iterator[Document]:
        """Every file that the application may read.

        Raises:
            SourceError: Graph cannot be reached, refuses the application, or has no such site or library.
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

        Graph's delta tells of new, changed, moved and deleted files. It keeps silent about most changes of
        permissions, so each run asks for those of every file, and reads a file again where they differ. A delta link
        that has grown too old is replaced by a full listing.

        Raises:
            SourceError: as for ``lazy_load``.
        """
        drive = self._drive()
        run = _Run(self.client, drive, state, again)
        try:
            yield from run.events()
        except HttpError as error:
            if error.status != 410 or state is None:  # 410: the delta link is too old
                raise
            run = _Run(self.client, drive, {**state, "delta": None}, again)
            yield from run.events()
        yield from run.register.close({"delta": run.delta})

    def _drive(self) -> str:
        """The id of the library."""
        try:
            site = self.client.get_json(f"/v1.0/sites/{quote(self.site, safe=':/')}")
        except HttpError as error:
            if error.status not in {400, 404}:
                raise
            raise SourceError(
                f"There is no site {self.site.replace(':/', '/')} in this tenant. Copy host and path from the site's "
                "address, up to the site's own name."
            ) from error
        drives = {
            str(drive["name"]): str(drive["id"])
            for answer in self.client.pages(f"/v1.0/sites/{site['id']}/drives", _next)
            for drive in answer["value"]
        }
        if self.library not in drives:
            raise SourceError(f"The site has no library {self.library!r}. It has: {', '.join(sorted(drives))}.")
        return drives[self.library]


class _Run:
    """One pass over a library."""

    def __init__(self, client: Client, drive: str, state: Mapping[str, Any] | None, again: Collection[str]) -> None:
        self.client, self.root = client, f"/v1.0/drives/{quote(drive, safe='!')}"
        self.delta: str | None = state["delta"] if state else None
        self.register = Register(state["items"] if state else {}, again)

    def events(self) -> Iterator[Event]:
        if self.delta is not None:
            for key, entry in self.register.known.items():
                self.register.keep(key, entry)
        seen = set[str]()
        for answer in self.client.pages(self.delta or f"{self.root}/root/delta", _next):
            for item in answer["value"]:
                key = str(item["id"])
                if "deleted" in item:
                    self.register.forget(key)
                elif "file" in item:
                    yield from self._item(item)
                    seen.add(key)
            self.delta = answer.get("@odata.deltaLink")
        yield from self._others(seen)

    def _others(self, seen: set[str]) -> Iterator[Event]:
        """Files that the delta does not mention: those whose permissions changed, and those that failed last time."""
        for key, entry in list(self.register.entries.items()):
            if key in seen:
                continue
            link = f"{self.root}/items/{quote(key)}"
            try:
                if "acl" in entry and entry["acl"] == self._acl(key):
                    continue
                item = self.client.get_json(link)
            except ITEM_ERRORS as error:
                stop_unless_local(error)
                self.register.keep(key, {"document": None})
                yield Failure(f"file {key} ({entry['document'] or 'not read before'})", reason(error))
                continue
            yield from self._item(item)

    def _item(self, item: dict[str, Any]) -> Iterator[Event]:
        key, name = str(item["id"]), one_line(str(item.get("name")))
        if not is_readable(name):
            self.register.forget(key)
            return
        try:
            document = self._document(item, name)
            self.register.claim(key, str(document.id))
        except ITEM_ERRORS as error:
            stop_unless_local(error)
            self.register.keep(key, {"document": None})
            yield Failure(f"file '{name}'", reason(error))
            return
        self.register.keep(key, {"document": document.id, "acl": document.metadata["acl"]})
        yield Change(document)

    def _document(self, item: dict[str, Any], name: str) -> Document:
        key = str(item["id"])
        acl = self._acl(key)
        fields = self.client.get_json(f"{self.root}/items/{quote(key)}/listItem", **{"$expand": "fields"})["fields"]
        columns = {str(column).lower(): one_line(str(value)) for column, value in fields.items() if value is not None}
        folder = unquote(item.get("parentReference", {}).get("path", "")).partition("root:")[2]
        title = columns.get("title") or PurePosixPath(name).stem
        named = document_id(columns.get("document", ""), key)
        metadata = {
            "id": named,
            "collection": PurePosixPath(folder).parts[1] if len(PurePosixPath(folder).parts) > 1 else "",
            "version": columns.get("_uiversionstring", "").removesuffix(".0"),
            "date": str(item.get("lastModifiedDateTime", ""))[:10],
            "status": "current",
            **{column: columns[column] for column in COLUMNS if columns.get(column)},
            "title": title,
            "acl": acl,
            "url": item.get("webUrl"),
            "source_id": key,
        }
        text = file_to_markdown(name, self._content(item), title)
        known = {column: value for column, value in metadata.items() if value}
        return Document(id=named, page_content=text, metadata=known)

    def _content(self, item: dict[str, Any]) -> bytes:
        """The file, from the short-lived link that comes with it, else by asking for a new one."""
        if item.get("size", 0) > MAX_FILE:
            raise ValueError(f"it is larger than {MAX_FILE // 1_000_000} MB")
        link = item.get("@microsoft.graph.downloadUrl")
        if link:
            try:
                return self.client.download(str(link))
            except HttpError as error:
                if error.status not in {401, 403, 404, 410}:
                    raise
        return self.client.download(f"{self.root}/items/{quote(str(item['id']))}/content")

    def _acl(self, key: str) -> list[str]:
        answers = self.client.pages(f"{self.root}/items/{quote(key)}/permissions", _next)
        return access_list(reader for answer in answers for entry in answer["value"] for reader in _readers(entry))


def _readers(permission: dict[str, Any]) -> Iterator[str]:
    """Whom a permission lets read: one identity, or those for whom a link was made."""
    if not READING_ROLES & set(permission.get("roles", [])):
        return
    link = permission.get("link")
    if link is None:
        identities = [permission.get("grantedToV2") or {}]
    else:
        identities = permission.get("grantedToIdentitiesV2") or [] if link.get("scope") == "users" else []
    for identity in identities:
        if ALL_USERS in str((identity.get("siteUser") or {}).get("loginName")):
            yield EVERYONE
            continue
        for kind in ("group", "siteGroup"):
            if kind in identity:
                yield str(identity[kind].get("displayName") or identity[kind]["id"])
        if "user" in identity:
            yield f"user:{identity['user']['id']}"


def _next(answer: dict[str, Any]) -> str | None:
    return answer.get("@odata.nextLink")
