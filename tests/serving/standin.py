"""The stand-in as tests use it: in this process, with a record of what was asked and a hook into every request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import httpx

from tests.serving import small_company
from workshop_utils.corpus.connectors import ConfluenceLoader, SharePointLoader
from workshop_utils.serving.sources import Faults, InProcess, create_app
from workshop_utils.serving.systems import Systems


class StandIn(httpx.BaseTransport):
    """Carries requests to the stand-in.

    Attributes:
        asked: path and query of each request.
        before: called with each request; may raise, or answer in the stand-in's place.
    """

    def __init__(self, company: Path, **settings: Any) -> None:
        self.app = create_app(company, **settings)
        self.systems: Systems = self.app.state.systems
        self.faults: Faults = self.app.state.faults
        self.asked: list[str] = []
        self.before: Callable[[httpx.Request], httpx.Response | None] = lambda _: None
        self._inside = InProcess(self.app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.raw_path.decode())
        answer = self.before(request)
        return answer or self._inside.handle_request(request)

    def pages(self, **settings: Any) -> ConfluenceLoader:
        return small_company.pages(self, **settings)

    def files(self, **settings: Any) -> SharePointLoader:
        return small_company.files(self, **settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._inside.close()
