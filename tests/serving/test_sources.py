"""The stand-ins: what they answer, what may go wrong with them, and how they change."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from tests.serving import small_company
from tests.serving.small_company import UPDATES, after
from tests.serving.standin import StandIn
from workshop_utils.cli.sources import serve, welcome
from workshop_utils.errors import InputError, WorkshopError
from workshop_utils.serving import sources
from workshop_utils.serving.sources import Faults, create_app
from workshop_utils.serving.systems import Systems

PAT = {"Authorization": "Bearer pat-service"}


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_company.write(tmp_path_factory.mktemp("company"))


@pytest.fixture
def stand_in(company: Path) -> Iterator[StandIn]:
    with StandIn(company) as server:
        yield server


@pytest.fixture
def web(stand_in: StandIn) -> httpx.Client:
    return httpx.Client(transport=stand_in, base_url=small_company.URL, headers=PAT)


def documents(systems: Systems) -> set[str]:
    pages = {page.document for page in systems.pages.values()} - {""}
    return pages | {file.document for file in systems.files.values() if not file.deleted}


# -- content by date --


def test_content_follows_the_update_stream(company: Path) -> None:
    systems = Systems(company)
    assert systems.dates == [date for date, *_ in UPDATES]
    assert documents(systems) == after(0).keys()
    assert systems.advance() == [systems.dates[0]]
    assert documents(systems) == after(1).keys()
    assert systems.advance("2030-01-01") == [systems.dates[1]]
    assert documents(systems) == after(2).keys()
    assert systems.advance() == systems.advance("2030-01-01") == []
    assert documents(Systems(company, at="2026-01-07")) == after(1).keys()
    assert documents(Systems(company, at="2020-01-01")) == after(0).keys()


def test_versions_and_dates_only_rise(company: Path) -> None:
    systems = Systems(company)
    before = {page.id: (page.version, page.when) for page in systems.pages.values()}
    systems.advance()
    systems.edit("HR-01", "28 days", "29 days")
    risen = {
        page.id for page in systems.pages.values() if page.id in before and (page.version, page.when) > before[page.id]
    }
    assert risen == {systems.find("HR-01").id}
    assert systems.find("HR-01").version == 3


def test_what_is_not_there_is_an_error_that_says_so(company: Path, tmp_path: Path) -> None:
    systems = Systems(company)
    with pytest.raises(InputError, match="no document HR-99"):
        systems.delete("HR-99")
    with pytest.raises(InputError, match="does not say 'x y z'"):
        systems.edit("HR-01", "x y z", "a")
    with pytest.raises(InputError, match="is a file"):
        systems.edit("PM-01", "a", "b")
    with pytest.raises(InputError, match="is a page"):
        systems.replace_file("HR-01", b"")
    with pytest.raises(InputError, match="is no date"):
        Systems(company, at="tomorrow")
    with pytest.raises(WorkshopError, match="workshop data --build"):
        Systems(tmp_path)


# -- Confluence --


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x"}, {"Authorization": "Basic !!"}])
def test_a_token_is_asked_for(stand_in: StandIn, headers: dict[str, str]) -> None:
    web = httpx.Client(transport=stand_in, base_url=small_company.URL, headers=headers)
    for path in ("/rest/api/content?spaceKey=CLV", "/wiki/api/v2/spaces", "/rest/api/space/CLV"):
        assert web.get(path).status_code == 401
    assert web.get("/v1.0/sites/x/drives").json()["error"]["code"] == "InvalidAuthenticationToken"


def test_both_interfaces_page_and_link_in_their_own_way(web: httpx.Client) -> None:
    first = web.get("/wiki/rest/api/content", params={"spaceKey": "CLV", "limit": 2}).json()
    assert first["_links"]["next"].startswith("/rest/api/content?")  # without the context path
    assert (first["size"], first["limit"], first["start"]) == (2, 2, 0)
    second = web.get(f"/wiki{first['_links']['next']}").json()
    assert {page["id"] for page in first["results"]}.isdisjoint(page["id"] for page in second["results"])
    space = web.get("/wiki/api/v2/spaces", params={"keys": "CLV"}).json()["results"][0]["id"]
    listed = web.get(f"/wiki/api/v2/spaces/{space}/pages", params={"limit": 3}).json()
    assert listed["_links"]["next"].startswith("/wiki/api/v2/spaces/")
    assert "body" not in listed["results"][0] or not listed["results"][0]["body"]
    assert web.get(f"/wiki/api/v2/spaces/{space}/pages?cursor=%21").status_code == 400


def test_only_what_is_expanded_is_told(web: httpx.Client, stand_in: StandIn) -> None:
    key = stand_in.systems.find("HR-01").id
    assert "body" not in web.get(f"/rest/api/content/{key}").json()
    page = web.get(f"/rest/api/content/{key}?expand=body.storage,version").json()
    assert page["version"]["number"] == 1
    assert "26 days" in page["body"]["storage"]["value"]
    assert web.get("/rest/api/content/1").status_code == 404


@pytest.mark.parametrize(
    ("cql", "found"),
    [
        ('space="CLV" and type=page and lastmodified>="2025-11-01 00:00"', {"HR-01", "IT-02"}),
        ('space="CLV" and lastmodified>="2030-01-01 00:00"', set()),
        ('space="NONE" and type=page', set()),
    ],
)
def test_searching_by_date(stand_in: StandIn, web: httpx.Client, cql: str, found: set[str]) -> None:
    stand_in.systems.advance()
    results = web.get("/rest/api/content/search", params={"cql": cql}).json()["results"]
    assert {page["title"][:5] for page in results} == found


def test_a_query_of_another_form_is_refused(web: httpx.Client) -> None:
    assert web.get("/rest/api/content/search", params={"cql": "text ~ 'a'"}).status_code == 400


def test_restrictions_hide_and_show(stand_in: StandIn, web: httpx.Client) -> None:
    key = stand_in.systems.find("HR-02").id
    read = web.get(f"/rest/api/content/{key}/restriction/byOperation").json()["read"]["restrictions"]
    assert [group["name"] for group in read["group"]["results"]] == ["hr", "legal"]
    web.headers["Authorization"] = "Bearer pat-employee"
    assert web.get(f"/rest/api/content/{key}").status_code == 404
    stand_in.systems.restrict("HR-02", ["everyone"])
    assert web.get(f"/rest/api/content/{key}").status_code == 200


# -- Graph --


def sign_in(web: httpx.Client) -> dict[str, Any]:
    form = {
        "client_id": "workshop",
        "client_secret": "workshop-secret",
        "scope": f"{small_company.URL}/.default",
        "grant_type": "client_credentials",
    }
    answer = web.post("/clairval.example/oauth2/v2.0/token", data=form).json()
    web.headers["Authorization"] = f"Bearer {answer['access_token']}"
    return dict(answer)


def test_tokens_expire(stand_in: StandIn, web: httpx.Client, company: Path) -> None:
    assert sign_in(web)["expires_in"] == 3600
    assert web.get("/v1.0/sites/clairval.sharepoint.example:/sites/product-documentation").status_code == 200
    stand_in.app.state.tokens.expire()
    assert web.get("/v1.0/sites/clairval.sharepoint.example:/sites/product-documentation").status_code == 401
    with StandIn(company, token_lifetime=0) as short:
        web = httpx.Client(transport=short, base_url=small_company.URL)
        sign_in(web)
        assert web.get("/v1.0/sites/x:/y").status_code == 401


def test_the_delta_tells_what_happened_since(stand_in: StandIn, web: httpx.Client) -> None:
    sign_in(web)
    root = "/v1.0/drives/b!Y2xhaXJ2YWwtcHJvZHVjdC1kb2N1bWVudGF0aW9u"
    first = web.get(f"{root}/root/delta").json()
    files = [item for item in first["value"] if "file" in item]
    assert len(files) == 2
    assert any("root" in item for item in first["value"])
    assert web.get(first["@odata.deltaLink"]).json()["value"] == []
    stand_in.systems.restrict("PM-01", ["qra"])  # nothing of this in the delta, as in Graph
    assert web.get(first["@odata.deltaLink"]).json()["value"] == []
    stand_in.systems.delete("PM-02")
    later = web.get(first["@odata.deltaLink"]).json()
    (gone,) = later["value"]
    assert gone["deleted"] == {"state": "deleted"}
    assert "name" not in gone
    assert web.get(f"{root}/root/delta?token=nonsense").status_code == 410
    assert web.get(f"{root}/root/delta?token=latest").json()["value"] == []
    assert web.get(f"{root}/items/{gone['id']}").status_code == 404
    assert len([item for item in web.get(f"{root}/root/delta").json()["value"] if "file" in item]) == 1


# -- faults and control --


def test_faults_come_as_told(stand_in: StandIn, web: httpx.Client) -> None:
    stand_in.faults.throttle_every = 3
    answers = [web.get("/rest/api/space/CLV") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 200, 200, 429]
    assert answers[2].headers["Retry-After"] == "1"
    stand_in.faults.throttle_every = 0
    stand_in.faults.statuses = [500, 503]
    assert [web.get("/rest/api/space/CLV").status_code for _ in range(3)] == [500, 503, 200]


def test_content_can_be_changed_from_outside(stand_in: StandIn, web: httpx.Client) -> None:
    stand_in.faults.throttle_every = 1
    assert web.post("/stand-in/advance", json={}).json() == {"date": "2025-12-03", "done": ["2025-12-03"]}
    assert web.post("/stand-in/restrict", json={"document": "HR-01", "groups": ["hr"]}).status_code == 200
    assert stand_in.systems.find("HR-01").groups == ("hr",)
    assert web.post("/stand-in/delete", json={"document": "HR-99"}).status_code == 400
    assert web.post("/stand-in/delete", json={"id": 1}).status_code == 400
    assert web.post("/stand-in/delete", content=b"{").status_code == 400
    assert "advance" in web.post("/stand-in/explode", json={}).json()["message"]


def test_it_works_where_a_loop_runs_already(stand_in: StandIn) -> None:
    import asyncio

    async def as_in_a_notebook() -> int:
        return len(stand_in.pages().load())

    assert asyncio.run(as_in_a_notebook()) == 4


# -- the command --


def test_the_command_says_how_to_connect_and_it_works(stand_in: StandIn) -> None:
    import textwrap

    from workshop_utils.corpus.connectors import ConfluenceLoader, SharePointLoader

    text = welcome(8799, "2026-01-08")
    assert "as of 2026-01-08" in text
    lines = text.split("\n\n")[1].split("\n")
    calls = "".join(f"{line}\n" for line in lines if line.startswith("  "))
    made = [
        eval(call, {"ConfluenceLoader": ConfluenceLoader, "SharePointLoader": SharePointLoader})
        for call in textwrap.dedent(calls).replace(",\n ", ", ").strip().split("\n")
    ]
    for loader, expected in zip(made, (4, 4, 2), strict=True):
        loader.client._client = httpx.Client(transport=stand_in)
        assert len(loader.load()) == expected


def test_a_port_that_is_taken_is_an_error_that_names_the_fix(company: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "create_app", lambda **_: create_app(company))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="Choose another with --port"):
            serve(Console(quiet=True), taken.getsockname()[1])


def test_the_command_serves(company: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served: dict[str, Any] = {}
    faults: list[Faults] = []

    def remember(**settings: Any) -> object:
        faults.append(settings["faults"])
        return create_app(company, **settings)

    monkeypatch.setattr(sources, "create_app", remember)
    monkeypatch.setattr("uvicorn.run", lambda app, **settings: served.update(settings, app=app))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serve(Console(quiet=True), port, at="2025-12-03", throttle=4, page_size=7)
    assert (served["host"], served["port"]) == ("127.0.0.1", port)
    assert served["app"].state.systems.date == "2025-12-03"
    assert faults[0].throttle_every == 4
