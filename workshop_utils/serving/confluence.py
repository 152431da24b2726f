"""The endpoints of Confluence that the connector uses, answered as the real one does."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response

from workshop_utils.serving.systems import Page, Systems

SPACE_NUMBER = "98305"
CLAUSE = re.compile(r'\s*(space|type|lastmodified)\s*(=|>=)\s*("[^"]*"|\w+)\s*')


def router(systems: Systems, tokens: dict[str, tuple[str, ...] | None], email: str, largest: int) -> APIRouter:
    """Version 1 at ``/rest/api`` (Data Center) and ``/wiki/rest/api`` (Cloud), version 2 at ``/wiki/api/v2``.

    Args:
        tokens: token -> the groups of its account; None may read everything.
        email: the account's address, for Cloud.
        largest: how many results a page of them holds at most, whatever is asked for.
    """
    api = APIRouter()

    def visible(request: Request) -> dict[str, Page]:
        """The pages that the token may see.

        Raises:
            HTTPException: 401, the token is none.
        """
        groups = _account(request, tokens, email)
        if groups is None:
            return systems.pages
        seen = {}
        for page in systems.pages.values():
            limits = [systems.pages[key].groups for key in (page.id, *page.above) if key in systems.pages]
            if all(set(limit) & set(groups) for limit in limits if limit):
                seen[page.id] = page
        return seen

    def one(request: Request, key: str) -> Page:
        page = visible(request).get(key)
        if page is None:
            raise HTTPException(404, f"No content found with id: ContentId{{id={key}}}")
        return page

    def v1(prefix: str) -> None:
        base = f"{prefix}/rest/api"

        def listed(request: Request, pages: Sequence[Page]) -> dict[str, Any]:
            query = request.query_params
            start = max(0, int(query.get("start", "0")))
            limit = min(max(1, int(query.get("limit", "25"))), largest)
            chosen = pages[start : start + limit]
            links = {"base": str(request.base_url).rstrip("/") + prefix, "context": prefix}
            if start + limit < len(pages):
                following = request.url.include_query_params(start=start + limit, limit=limit)
                # relative to the context path, as the real one has it
                links["next"] = f"{following.path.removeprefix(prefix)}?{following.query}"
            results = [_content(systems, page, query.get("expand", "")) for page in chosen]
            return {"results": results, "start": start, "limit": limit, "size": len(results), "_links": links}

        @api.get(f"{base}/space/{{key}}")
        async def space(request: Request, key: str) -> dict[str, Any]:
            visible(request)
            if key != systems.space["key"]:
                raise HTTPException(404, f"No space with key : {key}")
            return {"id": int(SPACE_NUMBER), **systems.space, "type": "global"}

        @api.get(f"{base}/content/search")
        async def search(request: Request, cql: str) -> dict[str, Any]:
            return listed(request, _search(systems, list(visible(request).values()), cql))

        @api.get(f"{base}/content")
        async def content(request: Request) -> dict[str, Any]:
            if request.query_params.get("spaceKey") != systems.space["key"]:
                raise HTTPException(404, "No space with that key")
            return listed(request, list(visible(request).values()))

        @api.get(f"{base}/content/{{key}}")
        async def page(request: Request, key: str) -> dict[str, Any]:
            return _content(systems, one(request, key), request.query_params.get("expand", ""))

        @api.get(f"{base}/content/{{key}}/restriction/byOperation")
        async def restriction(request: Request, key: str) -> dict[str, Any]:
            return {
                "read": _restriction("read", one(request, key).groups),
                "update": _restriction("update", ()),
            }

        @api.get(f"{base}/content/{{key}}/child/attachment")
        async def attachments(request: Request, key: str) -> dict[str, Any]:
            files = [
                {
                    "id": number,
                    "type": "attachment",
                    "title": name,
                    "version": {"number": version},
                    "_links": {"download": f"/download/attachments/{key}/{name}?version={version}&api=v2"},
                }
                for number, name, version in _files(one(request, key))
            ]
            return {"results": files, "start": 0, "limit": 50, "size": len(files), "_links": {}}

        @api.get(f"{prefix}/download/attachments/{{key}}/{{name}}")
        async def download(request: Request, key: str, name: str) -> Response:
            path = one(request, key).attachments.get(name)
            if path is None:
                raise HTTPException(404, "No such attachment")
            return Response(path.read_bytes(), media_type="application/octet-stream")

    v1("")
    v1("/wiki")

    base = "/wiki/api/v2"

    def cursor_page(request: Request, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
        query = request.query_params
        try:
            start = int(base64.urlsafe_b64decode(query.get("cursor", "MA==")))
        except ValueError as error:
            raise HTTPException(400, "The cursor is invalid") from error
        limit = min(max(1, int(query.get("limit", "25"))), largest)
        links = {"base": f"{str(request.base_url).rstrip('/')}/wiki"}
        if start + limit < len(results):
            cursor = base64.urlsafe_b64encode(str(start + limit).encode()).decode()
            following = request.url.include_query_params(cursor=cursor)
            links["next"] = f"{following.path}?{following.query}"
        return {"results": results[start : start + limit], "_links": links}

    @api.get(f"{base}/spaces")
    async def spaces(request: Request) -> dict[str, Any]:
        visible(request)
        wanted = request.query_params.get("keys", systems.space["key"]).split(",")
        found = [{"id": SPACE_NUMBER, **systems.space}] if systems.space["key"] in wanted else []
        return cursor_page(request, found)

    @api.get(f"{base}/spaces/{{number}}/pages")
    async def pages(request: Request, number: str) -> dict[str, Any]:
        if number != SPACE_NUMBER:
            raise HTTPException(404, "No such space")
        text = request.query_params.get("body-format") == "storage"
        return cursor_page(request, [_page_v2(page, text) for page in visible(request).values()])

    @api.get(f"{base}/pages/{{key}}")
    async def page_v2(request: Request, key: str) -> dict[str, Any]:
        return _page_v2(one(request, key), request.query_params.get("body-format") == "storage")

    @api.get(f"{base}/pages/{{key}}/labels")
    async def labels(request: Request, key: str) -> dict[str, Any]:
        return cursor_page(request, _labels(one(request, key)))

    @api.get(f"{base}/pages/{{key}}/ancestors")
    async def ancestors(request: Request, key: str) -> dict[str, Any]:
        return cursor_page(request, [{"id": above, "type": "page"} for above in one(request, key).above])

    @api.get(f"{base}/pages/{{key}}/attachments")
    async def attachments_v2(request: Request, key: str) -> dict[str, Any]:
        files = [
            {
                "id": number,
                "title": name,
                "status": "current",
                "version": {"number": version},
                "downloadLink": f"/download/attachments/{key}/{name}?version={version}&api=v2",
            }
            for number, name, version in _files(one(request, key))
        ]
        return cursor_page(request, files)

    return api


def _account(request: Request, tokens: dict[str, tuple[str, ...] | None], email: str) -> tuple[str, ...] | None:
    kind, _, value = request.headers.get("Authorization", "").partition(" ")
    if kind == "Basic":
        try:
            name, _, value = base64.b64decode(value).decode().partition(":")
        except ValueError:
            name = ""
        value = value if name == email else ""
    if kind not in {"Basic", "Bearer"} or value not in tokens:
        raise HTTPException(401, "Basic authentication with passwords or a wrong token is not accepted")
    return tokens[value]


def _content(systems: Systems, page: Page, expand: str) -> dict[str, Any]:
    content: dict[str, Any] = {
        "id": page.id,
        "type": "page",
        "status": "current",
        "title": page.title,
        "_links": {"webui": f"/spaces/{systems.space['key']}/pages/{page.id}", "self": f"/rest/api/content/{page.id}"},
    }
    wanted = expand.split(",")
    if "space" in wanted:
        content["space"] = {"id": int(SPACE_NUMBER), **systems.space}
    if "version" in wanted:
        content["version"] = {"number": page.version, "when": page.when}
    if "ancestors" in wanted:
        content["ancestors"] = [
            {"id": key, "type": "page", "title": systems.pages[key].title} for key in page.above if key in systems.pages
        ]
    if "body.storage" in wanted:
        content["body"] = {"storage": {"value": page.body, "representation": "storage"}}
    if "metadata.labels" in wanted:
        labels = _labels(page)
        content["metadata"] = {"labels": {"results": labels, "start": 0, "limit": 200, "size": len(labels)}}
    return content


def _page_v2(page: Page, text: bool) -> dict[str, Any]:
    content: dict[str, Any] = {
        "id": page.id,
        "status": "current",
        "title": page.title,
        "spaceId": SPACE_NUMBER,
        "parentId": page.above[-1] if page.above else None,
        "parentType": "page" if page.above else None,
        "version": {"number": page.version, "createdAt": page.when},
        "body": {},
        "_links": {"webui": f"/spaces/CLV/pages/{page.id}"},
    }
    if text:
        content["body"] = {"storage": {"value": page.body, "representation": "storage"}}
    return content


def _labels(page: Page) -> list[dict[str, Any]]:
    return [{"prefix": "global", "name": name, "id": str(n)} for n, name in enumerate(page.labels, start=1)]


def _files(page: Page) -> list[tuple[str, str, int]]:
    """(id, name, version) of each attachment."""
    return [(f"att{page.id}{n:02d}", name, page.version) for n, name in enumerate(page.attachments, start=1)]


def _restriction(operation: str, groups: Sequence[str]) -> dict[str, Any]:
    def results(found: list[dict[str, str]]) -> dict[str, Any]:
        return {"results": found, "start": 0, "limit": 100, "size": len(found)}

    named = [{"type": "group", "name": group, "id": f"group-{group}"} for group in groups]
    return {"operation": operation, "restrictions": {"user": results([]), "group": results(named)}}


def _search(systems: Systems, pages: list[Page], cql: str) -> list[Page]:
    """The pages that a query of the connector's form selects.

    Raises:
        HTTPException: 400, the query is of another form.
    """
    for clause in re.split(r"\s+and\s+", cql):
        match = CLAUSE.fullmatch(clause)
        if match is None:
            raise HTTPException(400, f"Could not parse cql : {cql}")
        field, value = match[1], match[3].strip('"')
        if field == "space" and value != systems.space["key"]:
            pages = []
        elif field == "lastmodified":
            pages = [page for page in pages if page.when[:16] >= value.replace(" ", "T")]
    return pages
