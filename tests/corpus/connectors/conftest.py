"""A small company behind the stand-in, fresh for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import small_company
from tests.serving.standin import StandIn


@pytest.fixture(scope="session")
def company(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_company.write(tmp_path_factory.mktemp("company"))


@pytest.fixture
def stand_in(company: Path) -> Iterator[StandIn]:
    with StandIn(company) as server:
        yield server
