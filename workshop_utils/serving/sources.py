"""Stand-ins of Confluence and SharePoint: the company's documents through the same endpoints, with their faults.

Everything here is fictional, the secrets included: see ``CONFLUENCE_TOKEN``, ``CLIENT_ID`` and ``CLIENT_SECRET``.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from workshop_utils.corpus.people import load_roles
from workshop_utils.errors import InputError
from workshop_utils.serving import confluence, graph
from workshop_utils.serving.systems import Systems

EMAIL = "service@clairval.example"
CONFLUENCE_TOKEN = "pat-service"
CLIENT_ID, CLIENT_SECRET = "workshop", "workshop-secret"
SITE = f"{graph.SITE_HOST}/{graph.SITE_PATH}"
TENANT = graph.TENANT


@dataclass
class Faults:
    """What goes wrong, and when; nothing by default. May be changed while the server runs.

    Attributes:
        throttle_every: each request of this number is answered 429; 0 for none.
        retry_after: the seconds that such an answer asks to wait.
        statuses: what the next requests are answered with, in turn.
        requests: how many there were.
    """

    throttle_every: int = 0
    retry_after: int = 1
    statuses: list[int] = field(default_factory=list)
    requests: int = 0

    def next(self) -> Response | None:
        """The fault that the next request meets."""
        self.requests += 1
        if self.statuses:
            status = self.statuses.pop(0)
        elif self.throttle_every and self.requests % self.throttle_every == 0:
            status = 429
        else:
            return None
        headers = {"Retry-After": str(self.retry_after)} if status in {429, 503} else {}
        return JSONResponse({"message": "the stand-in was told to fail"}, status, headers)


def create_app(
    data_dir: Path | None = None,
    *,
    at: str | None = None,
    faults: Faults | None = None,
    page_size: int = 100,
    token_lifetime: float = 3600,
) -> FastAPI:
    """The stand-ins as an application, with ``state.systems``, ``state.faults`` and ``state.tokens`` to play with.

    An account sees what its groups may read: ``pat-service`` and the application ``workshop`` everything,
    ``pat-ROLE`` and the application ``ROLE`` (secret ``workshop-secret``) what that role of data/people.yaml may.

    Args:
        data_dir: the project's data folder when None.
        at: the date to begin on; the first day when None.
        page_size: how many results an answer holds at most.
        token_lifetime: seconds until a token of Graph expires.

    Raises:
        WorkshopError: the folder holds no sources.
        InputError: ``at`` is no date.
    """
    app = FastAPI(title="Stand-ins of Confluence and SharePoint", openapi_url=None)
    systems = app.state.systems = Systems(data_dir, at)
    trouble = app.state.faults = faults or Faults()
    tokens = app.state.tokens = graph.Tokens(token_lifetime)
    roles = {role.id: role.groups for role in load_roles()}
    accounts: dict[str, tuple[str, ...] | None] = {CONFLUENCE_TOKEN: None}
    accounts |= {f"pat-{role}": groups for role, groups in roles.items()}
    applications: dict[str, tuple[str, tuple[str, ...] | None]] = {CLIENT_ID: (CLIENT_SECRET, None)}
    applications |= {role: (CLIENT_SECRET, groups) for role, groups in roles.items()}

    @app.middleware("http")
    async def fail(request: Request, proceed: Callable[[Request], Awaitable[Response]]) -> Response:
        told = None if request.url.path.startswith("/stand-in/") else trouble.next()
        return told or await proceed(request)

    @app.exception_handler(HTTPException)
    async def error(_: Request, raised: HTTPException) -> Response:
        is_graph = isinstance(raised.detail, dict)
        return JSONResponse(
            {"error": raised.detail} if is_graph else {"statusCode": raised.status_code, "message": raised.detail},
            raised.status_code,
        )

    @app.post("/stand-in/{action}")
    async def control(request: Request, action: str) -> dict[str, Any]:
        """Change the content from outside: advance, edit, rename, restrict or delete, arguments as JSON."""
        actions = {name: getattr(systems, name) for name in ("advance", "edit", "rename", "restrict", "delete")}
        if action not in actions:
            raise HTTPException(404, f"There is no action {action}. There are: {', '.join(actions)}.")
        try:
            done = actions[action](**(await request.json()))
        except (InputError, TypeError, ValueError) as wrong:
            raise HTTPException(400, str(wrong)) from wrong
        return {"date": systems.date, "done": done}

    app.include_router(confluence.router(systems, accounts, EMAIL, page_size))
    app.include_router(graph.router(systems, applications, tokens, page_size))
    return app


class InProcess(httpx.BaseTransport):
    """Carries requests of a plain ``httpx.Client`` to an application in this process, also from a notebook."""

    def __init__(self, app: FastAPI) -> None:
        self._transport = httpx.ASGITransport(app)
        self._loop = asyncio.new_event_loop()
        # a notebook's own thread has a running loop already
        threading.Thread(target=self._loop.run_forever, daemon=True, name="stand-in").start()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The application's response; httpx calls this."""
        request.read()
        return asyncio.run_coroutine_threadsafe(self._respond(request), self._loop).result()

    def close(self) -> None:
        """Stop the loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _respond(self, request: httpx.Request) -> httpx.Response:
        response = await self._transport.handle_async_request(request)
        body = await response.aread()
        return httpx.Response(response.status_code, headers=response.headers, content=body, request=request)
