"""The SharePoint connector against the stand-in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.documents import Document

from tests.serving.small_company import after, document, in_sharepoint, words
from tests.serving.standin import StandIn
from workshop_utils.authoring.datasets import office
from workshop_utils.corpus.connectors import Change, Checkpoint, Deletion, Failure, SharePointLoader, SourceError
from workshop_utils.corpus.connectors.changes import NO_READER
from workshop_utils.corpus.connectors.sharepoint import _readers
from workshop_utils.errors import InputError


def told(
    loader: SharePointLoader, state: dict[str, Any] | None, again: tuple[str, ...] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the connector tells, by document id or name, and the new state."""
    found: dict[str, Any] = {}
    for event in loader.changes(state, again):
        match event:
            case Change(one):
                found[str(one.id)] = one
            case Deletion(key):
                found[key] = "deleted"
            case Failure(name, reason):
                found[name] = reason
            case Checkpoint(new, documents):
                assert documents == {entry["document"] for entry in new["items"].values()} - {None}
                return found, new
    raise AssertionError("no checkpoint")


def by_id(documents: list[Document]) -> dict[str, Document]:
    assert len({one.id for one in documents}) == len(documents)
    return {str(one.id): one for one in documents}


# -- what comes out --


def test_files_are_the_canonical_documents_with_their_metadata(stand_in: StandIn) -> None:
    found, wanted = by_id(stand_in.files().load()), in_sharepoint(after(0))
    assert found.keys() == wanted.keys()
    for key, one in found.items():
        assert set(words(wanted[key].page_content)) <= set(words(one.page_content))
        assert {name: one.metadata.get(name) for name in wanted[key].metadata} == wanted[key].metadata
        assert None not in one.metadata.values()
        assert one.metadata["url"].startswith("https://clairval.sharepoint.example/sites/")


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_every_size_of_page_gives_the_same(company: Path, stand_in: StandIn, size: int) -> None:
    with StandIn(company, page_size=size) as small:
        wanted = stand_in.files().load()
        assert small.files().load() == wanted
        _, state = told(small.files(), None)
        small.systems.advance()
        small.systems.advance()
        assert told(small.files(), state)[0].keys() == {"PM-01", "PM-02", "PM-03"}


@pytest.mark.parametrize("every", [2, 3, 5])
def test_throttling_changes_nothing(stand_in: StandIn, every: int) -> None:
    wanted = stand_in.files().load()
    stand_in.faults.throttle_every = every
    assert stand_in.files().load() == wanted


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_error_at_any_request_changes_nothing(stand_in: StandIn, status: int) -> None:
    wanted = stand_in.files().load()
    for place in range(stand_in.faults.requests):
        count = iter(range(10_000))

        def fail(_: httpx.Request, place: int = place, count: Any = count) -> None:
            if next(count) == place:
                stand_in.faults.statuses = [status]

        stand_in.before = fail
        assert stand_in.files().load() == wanted


def test_a_token_that_expires_at_any_request_is_renewed(stand_in: StandIn) -> None:
    wanted = stand_in.files().load()
    for place in range(2, stand_in.faults.requests):
        count = iter(range(10_000))

        def expire(_: httpx.Request, place: int = place, count: Any = count) -> None:
            if next(count) == place:
                stand_in.app.state.tokens.expire()

        stand_in.before = expire
        assert stand_in.files().load() == wanted


@pytest.mark.parametrize("lost", ["missing", "expired", "elsewhere"])
def test_a_download_link_that_does_not_work_is_replaced(stand_in: StandIn, lost: str) -> None:
    wanted = stand_in.files().load()

    def change(request: httpx.Request) -> httpx.Response | None:
        if not request.url.path.endswith("/delta"):
            return None
        answer = stand_in._inside.handle_request(request).json()
        for item in answer["value"]:
            if "file" in item and lost == "missing":
                del item["@microsoft.graph.downloadUrl"]
            elif "file" in item:
                host = "http://stand-in" if lost == "expired" else "http://elsewhere"
                item["@microsoft.graph.downloadUrl"] = f"{host}/_layouts/15/download.aspx?tempauth=old"
        return httpx.Response(200, json=answer)

    stand_in.before = change
    loader = stand_in.files()
    if lost == "elsewhere":
        assert loader.load() == []
        assert len(loader.failures) == 2
        assert all("another host" in failure.reason for failure in loader.failures)
    else:
        assert loader.load() == wanted


# -- who may read --


def test_an_application_sees_what_its_groups_may_read(stand_in: StandIn) -> None:
    assert by_id(stand_in.files(client_id="employee").load()).keys() == {"PM-01"}
    assert by_id(stand_in.files(client_id="regulatory-officer").load()).keys() == {"PM-01", "PM-02"}


@pytest.mark.parametrize(
    ("permission", "readers"),
    [
        ({"roles": ["read"], "grantedToV2": {"group": {"id": "g", "displayName": "hr"}}}, ["hr"]),
        ({"roles": ["write"], "grantedToV2": {"group": {"id": "g"}}}, ["g"]),
        ({"roles": ["owner"], "grantedToV2": {"user": {"id": "u", "displayName": "everyone"}}}, ["user:u"]),
        ({"roles": ["read"], "grantedToV2": {"siteGroup": {"id": "3", "displayName": "Visitors"}}}, ["Visitors"]),
        (
            {"roles": ["read"], "grantedToV2": {"siteUser": {"loginName": "c:0-.f|rolemanager|spo-grid-all-users/5d"}}},
            ["everyone"],
        ),
        ({"roles": ["sp.limited access"], "grantedToV2": {"group": {"id": "g"}}}, []),
        ({"roles": [], "grantedToV2": {"group": {"id": "g"}}}, []),
        ({"roles": ["read"], "link": {"scope": "organization"}}, []),
        ({"roles": ["read"], "link": {"scope": "anonymous"}, "grantedToIdentitiesV2": [{"user": {"id": "u"}}]}, []),
        (
            {
                "roles": ["read"],
                "link": {"scope": "users"},
                "grantedToIdentitiesV2": [{"group": {"id": "g", "displayName": "qra"}}, {"user": {"id": "u"}}],
            },
            ["qra", "user:u"],
        ),
        ({"roles": ["read"], "link": {"scope": "users"}, "grantedToIdentitiesV2": None}, []),
        ({"roles": ["read"]}, []),
    ],
)
def test_permissions_of_every_shape(permission: dict[str, Any], readers: list[str]) -> None:
    assert list(_readers(permission)) == readers


def test_a_file_that_nobody_is_named_for_is_read_by_nobody(stand_in: StandIn) -> None:
    stand_in.before = lambda request: (
        httpx.Response(200, json={"value": []}) if request.url.path.endswith("/permissions") else None
    )
    assert {tuple(one.metadata["acl"]) for one in stand_in.files().load()} == {(NO_READER,)}


@pytest.mark.parametrize("answer", [httpx.Response(403, json={}), httpx.Response(200, json={"error": 1})])
def test_a_file_whose_permissions_cannot_be_read_is_left_out(stand_in: StandIn, answer: httpx.Response) -> None:
    _, state = told(stand_in.files(), None)
    key = stand_in.systems.find("PM-01").id
    stand_in.before = lambda request: answer if request.url.path.endswith(f"{key}/permissions") else None
    found, state = told(stand_in.files(), state)
    assert found.pop("PM-01") == "deleted"
    assert len(found) == 1
    stand_in.before = lambda _: None
    assert told(stand_in.files(), state)[0].keys() == {"PM-01"}


# -- incremental runs --


def test_nothing_is_told_and_nothing_downloaded_when_nothing_changed(stand_in: StandIn) -> None:
    _, state = told(stand_in.files(), None)
    stand_in.asked.clear()
    assert told(stand_in.files(), state) == ({}, state)
    assert not [path for path in stand_in.asked if "download" in path or "listItem" in path]


def test_each_kind_of_change_is_told(stand_in: StandIn) -> None:
    systems = stand_in.systems
    _, state = told(stand_in.files(), None)
    systems.replace_file("PM-01", office.xlsx_file(document("PM-01", "Holds 70 ml.")))
    found, state = told(stand_in.files(), state)
    assert found.keys() == {"PM-01"}
    assert "70 ml" in found["PM-01"].page_content

    systems.rename("PM-01", "Another title")
    found, state = told(stand_in.files(), state)
    assert {key: one.metadata["title"] for key, one in found.items()} == {"PM-01": "Another title"}

    systems.restrict("PM-01", ["qra", "legal"])
    found, state = told(stand_in.files(), state)
    assert {key: one.metadata["acl"] for key, one in found.items()} == {"PM-01": ["legal", "qra"]}

    systems.delete("PM-02")
    found, state = told(stand_in.files(), state)
    assert found == {"PM-02": "deleted"}
    assert told(stand_in.files(), state)[0] == {}
    assert told(stand_in.files(), state, ("PM-01",))[0].keys() == {"PM-01"}


@pytest.mark.parametrize("link", ["http://stand-in/v1.0/drives/{}/root/delta?token=999", "{}"])
def test_a_delta_link_that_is_too_old_is_replaced_by_a_full_listing(stand_in: StandIn, link: str) -> None:
    _, state = told(stand_in.files(), None)
    stand_in.systems.delete("PM-02")
    old = "http://stand-in/v1.0/drives/b!Y2xhaXJ2YWwtcHJvZHVjdC1kb2N1bWVudGF0aW9u/root/delta?token=gone"
    found, new = told(stand_in.files(), {**state, "delta": old})
    assert found.keys() == {"PM-01", "PM-02"}
    assert found["PM-02"] == "deleted"
    assert told(stand_in.files(), new)[0] == {}
    assert link


def test_a_file_that_cannot_be_read_is_reported_until_it_can(stand_in: StandIn) -> None:
    _, state = told(stand_in.files(), None)
    stand_in.systems.replace_file("PM-01", b"damaged")
    found, state = told(stand_in.files(), state)
    assert found.pop("PM-01") == "deleted"
    ((name, reason),) = found.items()
    assert name == "file 'PM-01 Title of PM-01.xlsx'"
    assert "no office file" in reason
    assert told(stand_in.files(), state)[0] == found
    stand_in.systems.replace_file("PM-01", office.xlsx_file(document("PM-01", "Good again.")))
    assert told(stand_in.files(), state)[0].keys() == {"PM-01"}


def test_no_file_takes_the_place_of_another(stand_in: StandIn) -> None:
    _, state = told(stand_in.files(), None)
    real = stand_in.systems.find("PM-02")
    copy = type(real)(**{**real.__dict__, "id": "01COPY", "path": "Product manuals/Copy.xlsx", "groups": ()})
    stand_in.systems._put(copy)  # type: ignore[arg-type]
    found, _ = told(stand_in.files(), state)
    ((name, reason),) = found.items()
    assert name == "file 'Copy.xlsx'"
    assert "it calls itself PM-02" in reason


# -- what may be wrong --


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"client_secret": "wrong"}, r"AADSTS7000215.*Check the tenant, the client id and the client secret"),
        ({"client_id": "wrong"}, r"AADSTS700016"),
        ({"tenant": "other.example"}, r"AADSTS90002"),
        ({"tenant": "../../x"}, r"gives no token"),
        ({"site": "clairval.sharepoint.example/sites/none"}, r"no site clairval.sharepoint.example/sites/none"),
        ({"library": "Pictures"}, r"no library 'Pictures'. It has: Documents"),
        ({"base_url": "http://stand-in/wrong"}, r"There is no site"),
    ],
)
def test_wrong_settings_are_errors_that_name_the_fix(stand_in: StandIn, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        stand_in.files(**settings).load()


@pytest.mark.parametrize("site", ["", "clairval", "https://clairval.sharepoint.example", "a:b/c"])
def test_a_site_must_be_one(stand_in: StandIn, site: str) -> None:
    with pytest.raises(InputError, match="is no site"):
        stand_in.files(site=site)
    with pytest.raises(InputError, match="base_url"):
        stand_in.files(login_url="login")


@pytest.mark.parametrize("key", ["@odata.nextLink", "@odata.deltaLink"])
def test_links_to_another_host_are_not_followed(stand_in: StandIn, key: str) -> None:
    stand_in.before = lambda request: (
        httpx.Response(200, json={"value": [], key: "http://elsewhere/delta"})
        if request.url.path.endswith("/delta")
        else None
    )
    with pytest.raises(SourceError, match="another host"):
        told(stand_in.files(), told(stand_in.files(), None)[1])
    assert not any("elsewhere" in path for path in stand_in.asked)
