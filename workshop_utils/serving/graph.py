"""The endpoints of Microsoft Graph that the connector uses, answered as the real one does."""

from __future__ import annotations

import secrets
import time
import zlib
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from workshop_utils.serving.systems import File, Systems

TENANT = "clairval.example"
SITE_HOST, SITE_PATH = "clairval.sharepoint.example", "sites/product-documentation"
SITE_ID = f"{SITE_HOST},1f0c7d2e-5b1a-4c58-9f7e-2f6a1d3b9c01,8a5b6c7d-0e1f-4a2b-b3c4-d5e6f7a8b902"
DRIVE_ID = "b!Y2xhaXJ2YWwtcHJvZHVjdC1kb2N1bWVudGF0aW9u"
ROOT_ID = "01ROOT"
ALL_USERS = "c:0-.f|rolemanager|spo-grid-all-users/5d1a7f2e-0000-4000-8000-000000000000"


class Tokens:
    """Access tokens given out, and what they are good for.

    Args:
        lifetime: seconds until one expires.
    """

    def __init__(self, lifetime: float) -> None:
        self.lifetime = lifetime
        self._given: dict[str, tuple[str, float]] = {}
        self.issued = 0

    def issue(self, client: str) -> str:
        """A new token of an application."""
        self.issued += 1
        token = f"{client}-{self.issued}-{secrets.token_hex(8)}"
        self._given[token] = (client, time.monotonic() + self.lifetime)
        return token

    def client(self, token: str) -> str | None:
        """The application that a token belongs to; None when it is none or has expired."""
        client, until = self._given.get(token, (None, 0.0))
        return client if time.monotonic() < until else None

    def expire(self) -> None:
        """Let all tokens expire now."""
        self._given.clear()


def router(
    systems: Systems,
    applications: dict[str, tuple[str, tuple[str, ...] | None]],
    tokens: Tokens,
    largest: int,
) -> APIRouter:
    """The token endpoint, sites, drives, delta, items, permissions and downloads.

    Args:
        applications: client id -> its secret, and the groups whose files it may read; None may read everything.
        largest: how many items an answer holds at most.
    """
    api = APIRouter()
    addresses: dict[str, str] = {}

    def visible(request: Request) -> dict[str, File]:
        kind, _, value = request.headers.get("Authorization", "").partition(" ")
        client = tokens.client(value) if kind == "Bearer" else None
        if client is None:
            raise HTTPException(401, {"code": "InvalidAuthenticationToken", "message": "Lifetime validation failed."})
        groups = applications[client][1]
        if groups is None:
            return systems.files
        return {key: file for key, file in systems.files.items() if not file.groups or set(file.groups) & set(groups)}

    def one(request: Request, drive: str, key: str) -> File:
        file = visible(request).get(key)
        if drive != DRIVE_ID or file is None or file.deleted:
            raise HTTPException(404, {"code": "itemNotFound", "message": "The resource could not be found."})
        return file

    def item(request: Request, file: File) -> dict[str, Any]:
        if file.deleted:
            return {"id": file.id, "deleted": {"state": "deleted"}, "parentReference": {"driveId": DRIVE_ID}}
        return {
            "id": file.id,
            "name": PurePosixPath(file.path).name,
            "size": len(file.read()),
            "eTag": f'"{{{file.id}}},{file.version}"',
            "lastModifiedDateTime": file.when,
            "webUrl": f"https://{SITE_HOST}/{SITE_PATH}/Documents/{quote(file.path)}",
            "file": {"mimeType": "application/octet-stream"},
            "parentReference": {
                "driveId": DRIVE_ID,
                "path": f"/drives/{DRIVE_ID}/root:/{quote(str(PurePosixPath(file.path).parent))}",
            },
            "@microsoft.graph.downloadUrl": address(request, file),
        }

    def address(request: Request, file: File) -> str:
        """A link that works for a while without a token."""
        key = secrets.token_urlsafe(12)
        addresses[key] = file.id
        return f"{request.base_url}_layouts/15/download.aspx?tempauth={key}"

    @api.post("/{tenant}/oauth2/v2.0/token")
    async def token(request: Request, tenant: str) -> Response:
        form = {key: values[0] for key, values in parse_qs((await request.body()).decode()).items()}
        if tenant != TENANT:
            return _oauth_error(400, "invalid_request", f"AADSTS90002: Tenant '{tenant}' not found.")
        client = form.get("client_id", "")
        if client not in applications:
            return _oauth_error(400, "unauthorized_client", f"AADSTS700016: Application '{client}' was not found.")
        if form.get("client_secret") != applications[client][0]:
            return _oauth_error(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.")
        if form.get("grant_type") != "client_credentials" or not form.get("scope", "").endswith("/.default"):
            return _oauth_error(400, "invalid_scope", "AADSTS1002012: The scope is not valid.")
        answer = {
            "token_type": "Bearer",
            "expires_in": int(tokens.lifetime),
            "access_token": tokens.issue(client),
        }
        return JSONResponse(answer)

    @api.get("/v1.0/sites/{site}/drives")
    async def drives(request: Request, site: str) -> dict[str, Any]:
        visible(request)
        if site != SITE_ID:
            raise HTTPException(404, {"code": "itemNotFound", "message": "The site could not be found."})
        return {"value": [{"id": DRIVE_ID, "name": systems.library["drive"], "driveType": "documentLibrary"}]}

    @api.get("/v1.0/sites/{address:path}")
    async def site(request: Request, address: str) -> dict[str, Any]:
        visible(request)
        if address != f"{SITE_HOST}:/{SITE_PATH}":
            raise HTTPException(404, {"code": "itemNotFound", "message": "Requested site could not be found"})
        return {
            "id": SITE_ID,
            "displayName": systems.library["site"],
            "webUrl": f"https://{SITE_HOST}/{SITE_PATH}",
        }

    @api.get("/v1.0/drives/{drive}/root/delta")
    async def delta(request: Request, drive: str) -> dict[str, Any]:
        files = visible(request)
        if drive != DRIVE_ID:
            raise HTTPException(404, {"code": "itemNotFound", "message": "The drive could not be found."})
        since, after, until = _delta_token(request.query_params.get("token", ""), systems.tick)
        folders = [] if since or after else [_folder(path) for path in _folders(files.values())]
        due = sorted(
            (f for f in files.values() if max(since, after) < f.tick <= until and not (f.deleted and since == 0)),
            key=lambda file: file.tick,
        )
        chosen = due[:largest]
        link = f"{request.base_url}v1.0/drives/{quote(drive)}/root/delta?token="
        answer: dict[str, Any] = {"value": [*folders, *(item(request, file) for file in chosen)]}
        if len(due) > largest:
            answer["@odata.nextLink"] = f"{link}{since}-{chosen[-1].tick}-{until}"
        else:
            answer["@odata.deltaLink"] = f"{link}{until}"
        return answer

    @api.get("/v1.0/drives/{drive}/items/{key}")
    async def one_item(request: Request, drive: str, key: str) -> dict[str, Any]:
        return item(request, one(request, drive, key))

    @api.get("/v1.0/drives/{drive}/items/{key}/listItem")
    async def list_item(request: Request, drive: str, key: str) -> dict[str, Any]:
        file = one(request, drive, key)
        named = {name: value for name, value in file.columns.items() if value is not None}
        shown = {"id": "1", "FileLeafRef": PurePosixPath(file.path).name, "_UIVersionString": f"{file.version}.0"}
        return {"id": "1", "fields": {**named, **shown} if "fields" in request.query_params.get("$expand", "") else {}}

    @api.get("/v1.0/drives/{drive}/items/{key}/permissions")
    async def permissions(request: Request, drive: str, key: str) -> dict[str, Any]:
        return {"value": _permissions(one(request, drive, key))}

    @api.get("/v1.0/drives/{drive}/items/{key}/content")
    async def content(request: Request, drive: str, key: str) -> Response:
        return RedirectResponse(address(request, one(request, drive, key)), 302)

    @api.get("/_layouts/15/download.aspx")
    async def download(tempauth: str) -> Response:
        file = systems.files.get(addresses.get(tempauth, ""))
        if file is None or file.deleted:
            raise HTTPException(404, "The link has expired.")
        return Response(file.read(), media_type="application/octet-stream")

    return api


def _oauth_error(status: int, code: str, description: str) -> Response:
    return JSONResponse({"error": code, "error_description": description}, status)


def _delta_token(token: str, now: int) -> tuple[int, int, int]:
    """(changes after this one, of which these are told, up to this one); a token is '7' or '3-5-7'.

    Raises:
        HTTPException: 410, it is none that was given out.
    """
    if not token:
        return 0, 0, now
    if token == "latest":
        return now, now, now
    try:
        numbers = [int(part) for part in token.split("-")]
    except ValueError:
        numbers = []
    if len(numbers) == 1 and 0 <= numbers[0] <= now:
        return numbers[0], numbers[0], now
    if len(numbers) == 3:
        return numbers[0], numbers[1], numbers[2]
    raise HTTPException(410, {"code": "resyncRequired", "message": "Resync required."})


def _folders(files: Any) -> list[PurePosixPath]:
    return sorted({parent for file in files for parent in PurePosixPath(file.path).parents})


def _folder(path: PurePosixPath) -> dict[str, Any]:
    if path == PurePosixPath():
        return {"id": ROOT_ID, "name": "root", "root": {}, "folder": {}}
    return {"id": f"01FOLDER{zlib.crc32(str(path).encode()):X}", "name": path.name, "folder": {}}


def _permissions(file: File) -> list[dict[str, Any]]:
    """All staff through SharePoint's own claim; else the first group directly, the others through a link for them."""
    if not file.groups:
        everyone = {"displayName": "Everyone except external users", "loginName": ALL_USERS}
        return [{"id": "p0", "roles": ["read"], "grantedToV2": {"siteUser": everyone}}]
    groups = [{"group": {"id": f"group-{name}", "displayName": name}} for name in file.groups]
    found: list[dict[str, Any]] = [{"id": "p0", "roles": ["read"], "grantedToV2": groups[0]}]
    if groups[1:]:
        link = {"scope": "users", "type": "view", "webUrl": f"https://{SITE_HOST}/:b:/s/shared"}
        found.append({"id": "p1", "roles": ["read"], "link": link, "grantedToIdentitiesV2": groups[1:]})
    # a link for whoever has it: nobody finds a file by it
    anyone = {"scope": "organization", "type": "view", "webUrl": f"https://{SITE_HOST}/:b:/s/organization"}
    return [*found, {"id": "p2", "roles": ["read"], "link": anyone, "grantedToIdentitiesV2": []}]
