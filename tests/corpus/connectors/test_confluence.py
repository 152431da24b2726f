"""The Confluence connector against the stand-in."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from langchain_core.documents import Document

from tests.serving import small_company
from tests.serving.small_company import after, in_confluence, words
from tests.serving.standin import StandIn
from workshop_utils.corpus import split_documents
from workshop_utils.corpus.connectors import Change, Checkpoint, ConfluenceLoader, Deletion, Failure, SourceError
from workshop_utils.corpus.connectors.changes import NO_READER
from workshop_utils.corpus.documents import KEYS
from workshop_utils.errors import InputError

# the page of a superseded document says so
WARNING = "This version is no longer valid. It was replaced by KB-102.\n\n"


def told(loader: ConfluenceLoader, state: dict[str, Any] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the connector tells, by document id or name, and the new state."""
    found: dict[str, Any] = {}
    for event in loader.changes(state):
        match event:
            case Change(document):
                found[str(document.id)] = document
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


def test_pages_are_the_canonical_documents_with_their_metadata(stand_in: StandIn) -> None:
    found = by_id(stand_in.pages().load())
    wanted = in_confluence(after(0))
    assert found.keys() == wanted.keys()
    for key, one in found.items():
        assert one.page_content.replace(WARNING, "").strip() == wanted[key].page_content.strip()
        assert {name: one.metadata.get(name) for name in KEYS} == wanted[key].metadata
        assert None not in one.metadata.values()
        assert one.metadata["labels"]
        assert one.metadata["url"].startswith(f"{small_company.URL}/wiki/spaces/CLV/pages/")


def test_passages_are_those_of_the_canonical_documents(stand_in: StandIn) -> None:
    wanted = in_confluence(after(0)).values()
    found = sorted(stand_in.pages().load(), key=lambda one: str(one.id))
    for one in found:
        one.page_content = one.page_content.replace(WARNING, "")
    assert split_documents(found, 20) == split_documents(sorted(wanted, key=lambda one: str(one.id)), 20)


def test_both_interfaces_and_both_kinds_of_token_give_equal_documents(stand_in: StandIn) -> None:
    first = stand_in.pages().load()
    assert stand_in.pages(api="v2").load() == first
    local = ConfluenceLoader(small_company.URL, "CLV", token="pat-service", transport=stand_in).load()
    assert [one.page_content for one in local] == [one.page_content for one in first]
    with_files = [stand_in.pages(api=api, attachments=True).load() for api in ("v1", "v2")]
    assert with_files[0] == with_files[1]
    assert len(with_files[0]) == len(first) + 1


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 50])
def test_every_size_of_page_gives_the_same(stand_in: StandIn, api: str, size: int) -> None:
    wanted = stand_in.pages().load()
    assert stand_in.pages(api=api, page_size=size).load() == wanted
    assert any("cursor=" in path or "start=" in path for path in stand_in.asked)


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_a_server_that_sends_fewer_than_asked_for_is_followed(company: Any, stand_in: StandIn, api: str) -> None:
    with StandIn(company, page_size=2) as small:
        assert small.pages(api=api, page_size=50).load() == stand_in.pages().load()


@pytest.mark.parametrize("every", [2, 3, 5, 7])
def test_throttling_changes_nothing(stand_in: StandIn, every: int) -> None:
    waits: list[float] = []
    wanted = stand_in.pages().load()
    stand_in.faults.throttle_every = every
    assert stand_in.pages(sleep=waits.append).load() == wanted
    assert waits
    assert all(1 <= wait <= 1.25 for wait in waits)  # Retry-After says 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_server_error_at_any_request_changes_nothing(stand_in: StandIn, status: int) -> None:
    wanted = stand_in.pages(attachments=True).load()
    for place in range(stand_in.faults.requests):
        stand_in.faults.requests = 0
        stand_in.faults.statuses = []
        count = iter(range(10_000))

        def fail(_: httpx.Request, place: int = place, count: Any = count) -> None:
            if next(count) == place:
                stand_in.faults.statuses = [status]

        stand_in.before = fail
        assert stand_in.pages(attachments=True).load() == wanted


def test_attachments_are_documents_of_their_own(stand_in: StandIn) -> None:
    found = [one for one in stand_in.pages(attachments=True).load() if "attached_to" in one.metadata]
    (table,) = found
    assert table.metadata["attached_to"] == "IT-01"
    assert str(table.id).startswith("IT-01-att")
    assert "| Site 3 | 3:00 to 13:30 |" in table.page_content
    assert split_documents(found)


# -- who may read --


def test_a_token_sees_what_its_account_may_read(stand_in: StandIn) -> None:
    assert by_id(stand_in.pages(token="pat-employee").load()).keys() == {"HR-01", "IT-01", "KB-101"}
    assert by_id(stand_in.pages(token="pat-people-partner").load()).keys() == in_confluence(after(0)).keys()


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_a_page_inherits_the_restrictions_above_it(stand_in: StandIn, api: str) -> None:
    above = stand_in.systems.find("HR-01").above[0]  # type: ignore[union-attr]
    assert stand_in.systems.pages[above].title == "hr-policies"
    stand_in.systems.pages[above] = type(stand_in.systems.pages[above])(
        **{**stand_in.systems.pages[above].__dict__, "groups": ("hr", "managers")}
    )
    found = by_id(stand_in.pages(api=api).load())
    assert found["HR-01"].metadata["acl"] == ["hr", "managers"]
    assert found["HR-02"].metadata["acl"] == ["hr"]  # restricted to hr and legal itself
    assert found["IT-01"].metadata["acl"] == ["everyone"]
    stand_in.systems.restrict("HR-02", ["legal"])
    assert by_id(stand_in.pages(api=api).load())["HR-02"].metadata["acl"] == [NO_READER]


def test_users_are_told_from_groups(stand_in: StandIn) -> None:
    def answer(request: httpx.Request) -> httpx.Response | None:
        if not request.url.path.endswith("/byOperation"):
            return None
        users = [{"accountId": "557058:a"}, {"username": "everyone"}]
        named = {"user": {"results": users}, "group": {"results": [{"name": None, "id": "g-7"}]}}
        return httpx.Response(200, json={"read": {"restrictions": named}})

    stand_in.before = answer
    assert stand_in.pages().load()[0].metadata["acl"] == ["g-7", "user:557058:a", "user:everyone"]


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(403, json={}),
        httpx.Response(200, json={"read": {"restrictions": {"group": {"results": []}}}}),
        httpx.Response(200, json={"update": {}}),
        httpx.Response(200, text="<html>log in</html>"),
        httpx.Response(200, json={"read": {"restrictions": None}}),
    ],
)
def test_a_page_whose_restrictions_cannot_be_read_is_left_out(stand_in: StandIn, answer: httpx.Response) -> None:
    key = stand_in.systems.find("HR-01").id
    _, state = told(stand_in.pages(), None)
    stand_in.before = lambda request: (
        answer if request.url.path == f"/wiki/rest/api/content/{key}/restriction/byOperation" else None
    )
    loader = stand_in.pages()
    assert by_id(loader.load()).keys() == {"HR-02", "IT-01", "KB-101"}
    assert [failure.name for failure in loader.failures] == [f"page {key} 'HR-01 Title of HR-01'"]
    assert told(stand_in.pages(), state)[0]["HR-01"] == "deleted"


# -- incremental runs --


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("attachments", [False, True])
def test_nothing_is_told_and_no_text_read_when_nothing_changed(stand_in: StandIn, api: str, attachments: bool) -> None:
    loader = stand_in.pages(api=api, attachments=attachments)
    _, state = told(loader, None)
    stand_in.asked.clear()
    found, again = told(loader, state)
    assert found == {}
    assert again == state
    assert not [path for path in stand_in.asked if "download" in path or ("body" in path and "/search?" not in path)]


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("lagging", [False, True])
def test_each_kind_of_change_is_told(stand_in: StandIn, api: str, lagging: bool) -> None:
    loader = stand_in.pages(api=api)
    _, state = told(loader, None)
    if lagging:  # the index of the search has seen nothing yet
        stand_in.before = lambda request: (
            httpx.Response(200, json={"results": [], "_links": {}}) if "/search" in request.url.path else None
        )
    systems = stand_in.systems
    systems.edit("HR-01", "26 days", "27 days")
    found, state = told(loader, state)
    assert found.keys() == {"HR-01"}
    assert "27 days" in found["HR-01"].page_content

    systems.rename("IT-01", "Other hours")
    found, state = told(loader, state)
    assert found.keys() == {"IT-01"}
    assert found["IT-01"].metadata["title"] == "Other hours"
    assert found["IT-01"].page_content.startswith("# Other hours\n")

    systems.restrict("HR-01", ["hr"])
    found, state = told(loader, state)
    assert found.keys() == {"HR-01"}
    assert found["HR-01"].metadata["acl"] == ["hr"]

    systems.delete("KB-101")
    found, state = told(loader, state)
    assert found == {"KB-101": "deleted"}

    systems.add_page("", "A loose page", "<p>Loose words.</p>")
    found, state = told(loader, state)
    ((key, one),) = found.items()
    assert key == one.metadata["source_id"]
    assert one.metadata["collection"] == "CLV"
    assert told(loader, state)[0] == {}


def test_documents_are_told_again_on_demand(stand_in: StandIn) -> None:
    _, state = told(stand_in.pages(), None)
    events = list(stand_in.pages().changes(state, {"HR-01", "KB-101", "XX-99"}))
    assert {str(event.document.id) for event in events if isinstance(event, Change)} == {"HR-01", "KB-101"}


def test_batches_arrive(stand_in: StandIn) -> None:
    loader = stand_in.pages(attachments=True)
    _, state = told(loader, None)
    stand_in.systems.advance()
    found, state = told(loader, state)
    assert found.keys() == {"HR-01", "IT-02", "KB-101"}
    assert found["KB-101"] == "deleted"
    stand_in.systems.advance()
    found, state = told(loader, state)
    assert {key: one if one == "deleted" else one.metadata["acl"] for key, one in found.items()} == {
        "HR-02": ["everyone"],
        "IT-01": ["it-admins"],
        next(key for key in found if "att" in key): "deleted",
    }


def test_a_page_deleted_while_the_listing_is_read_hides_no_other(stand_in: StandIn) -> None:
    loader = stand_in.pages(page_size=2)
    _, state = told(loader, None)
    listings = 0

    def vanish(request: httpx.Request) -> None:
        nonlocal listings
        if request.url.path.endswith("/rest/api/content"):
            listings += 1
            if listings == 2:
                stand_in.systems.delete("HR-01")  # was on the first page: all others move up

    stand_in.before = vanish
    found, _ = told(loader, state)
    assert found.pop("HR-01") == "deleted"
    assert all("HR-01" in name for name in found)  # it was listed a moment ago


def test_a_search_that_finds_an_older_version_is_not_believed(stand_in: StandIn) -> None:
    _, state = told(stand_in.pages(), None)
    stand_in.systems.edit("HR-01", "26 days", "27 days")
    stale: list[httpx.Response] = []

    def lag(request: httpx.Request) -> httpx.Response | None:
        if not request.url.path.endswith("/search"):
            return None
        if not stale:
            stale.append(stand_in._inside.handle_request(request))
            stand_in.systems.edit("HR-01", "27 days", "28 days")
        return stale[0]

    stand_in.before = lag
    _, between = told(stand_in.pages(), state)
    found, _ = told(stand_in.pages(), between)
    assert "28 days" in found["HR-01"].page_content


@pytest.mark.parametrize("broken", [False, True])
def test_a_page_that_is_listed_twice_is_told_once(stand_in: StandIn, broken: bool) -> None:
    if broken:
        for page in list(stand_in.systems.pages.values()):
            stand_in.systems._save(page, body="<p>")

    def overlap(request: httpx.Request) -> httpx.Response | None:
        """The second page of the listing begins with what the first one ended with."""
        if request.url.path.endswith("/rest/api/content") and request.url.params["start"] != "0":
            start = int(request.url.params["start"]) - 1
            url = request.url.copy_set_param("start", start).copy_set_param("limit", 100)
            return stand_in._inside.handle_request(httpx.Request("GET", url, headers=request.headers))
        return None

    stand_in.before = overlap
    loader = stand_in.pages(page_size=3)
    assert len(by_id(loader.load())) == (0 if broken else 4)
    assert len({failure.name for failure in loader.failures}) == len(loader.failures) == (7 if broken else 0)


def test_a_page_that_was_made_anew_takes_its_document_over(stand_in: StandIn) -> None:
    _, state = told(stand_in.pages(), None)
    body = stand_in.systems.find("HR-01").body  # type: ignore[union-attr]
    stand_in.systems.delete("HR-01")
    stand_in.systems.add_page("HR-01", "HR-01 Made anew", body)
    found, _ = told(stand_in.pages(), state)
    assert found.keys() == {"HR-01"}
    assert found["HR-01"].metadata["title"] == "Made anew"


# -- what may be wrong --


def test_a_page_that_cannot_be_parsed_is_reported_and_the_rest_goes_on(stand_in: StandIn) -> None:
    _, state = told(stand_in.pages(), None)
    page = stand_in.systems.find("HR-01")
    stand_in.systems._save(page, body="<p>not closed")  # type: ignore[arg-type]
    loader = stand_in.pages()
    assert by_id(loader.load()).keys() == {"HR-02", "IT-01", "KB-101"}
    (failure,) = loader.failures
    assert failure.name == f"page {page.id} 'HR-01 Title of HR-01'"
    assert "no well-formed storage format" in failure.reason
    found, state = told(loader, state)
    assert found["HR-01"] == "deleted"
    assert told(loader, state)[0] == {failure.name: failure.reason}
    stand_in.systems._save(page, body="<p>closed</p>")  # type: ignore[arg-type]
    assert told(loader, state)[0].keys() == {page.id}


def test_no_page_takes_the_place_of_another(stand_in: StandIn) -> None:
    rows = "<tr><th>Document</th><td>HR-02</td></tr>"
    body = (
        f'<ac:structured-macro ac:name="details"><ac:rich-text-body><table>{rows}</table></ac:rich-text-body>'
        "</ac:structured-macro><p>Everybody gets a rise.</p>"
    )
    _, state = told(stand_in.pages(), None)
    stand_in.systems.add_page("", "Impostor", body)
    found, state = told(stand_in.pages(), state)
    ((name, reason),) = found.items()
    assert "Impostor" in name
    assert "it calls itself HR-02" in reason
    assert told(stand_in.pages(), state)[0] == found
    assert "one person" in by_id(stand_in.pages().load())["HR-02"].page_content


@pytest.mark.parametrize("named", ["../HR", "HR-01#03", "a b", "x" * 65, "<b>"])
def test_an_improper_document_id_is_not_used(stand_in: StandIn, named: str) -> None:
    page = stand_in.systems.find("HR-01")
    body = page.body.replace("<p>HR-01</p>", f"<p>{named.replace('<', '&lt;')}</p>")  # type: ignore[union-attr]
    stand_in.systems._save(page, body=body)  # type: ignore[arg-type]
    assert page.id in by_id(stand_in.pages().load())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"token": "wrong"}, r"401\. The token is refused.*Make a new one"),
        ({"email": "somebody@clairval.example"}, r"401\. The token is refused"),
        ({"api": "v2", "token": "wrong"}, r"401\. The token is refused"),
    ],
)
def test_a_refused_token_is_an_error_that_names_the_fix(
    stand_in: StandIn, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        stand_in.pages(**settings).load()


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_an_unknown_space_is_an_error_that_names_the_fix(stand_in: StandIn, api: Any) -> None:
    loader = ConfluenceLoader(
        f"{small_company.URL}/wiki", "NONE", token="pat-service", email="service@clairval.example", api=api,
        transport=stand_in,
    )  # fmt: skip
    with pytest.raises(SourceError, match=r"no space NONE.*key stands in the address"):
        loader.load()


def test_a_wrong_address_is_an_error_that_names_the_fix(stand_in: StandIn) -> None:
    loader = ConfluenceLoader(f"{small_company.URL}/wrong", "CLV", token="pat-service", transport=stand_in)
    with pytest.raises(SourceError, match="base_url is wrong"):
        loader.load()
    with pytest.raises(InputError, match="base_url"):
        ConfluenceLoader("stand-in", "CLV", token="x")
    with pytest.raises(InputError, match="no space key"):
        ConfluenceLoader(small_company.URL, 'CLV" or space="HR', token="x")


@pytest.mark.parametrize("link", ["http://elsewhere/x", "//elsewhere/x", "http://stand-in:81/x", "http://a@stand-in/x"])
@pytest.mark.parametrize("api", ["v1", "v2"])
def test_a_next_link_to_another_host_is_not_followed(stand_in: StandIn, link: str, api: str) -> None:
    def poison(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith(("/rest/api/content", "/pages")):
            return httpx.Response(200, json={"results": [], "_links": {"next": link}})
        return None

    stand_in.before = poison
    with pytest.raises(SourceError, match="another host"):
        stand_in.pages(api=api).load()


def test_titles_are_one_line(stand_in: StandIn) -> None:
    stand_in.systems.add_page("", "Two\n# lines\x00" + "x" * 1000, "<p>a</p>")
    (one,) = [one for one in stand_in.pages().load() if one.metadata["title"].startswith("Two")]
    assert one.metadata["title"].startswith("Two # lines xxx")
    assert len(one.metadata["title"]) == 300


def test_the_whole_company_reads_as_written() -> None:
    """Every document of the corpus, through storage format and back, without files or servers."""
    from workshop_utils.authoring.datasets.blocks import parse_blocks
    from workshop_utils.authoring.datasets.confluence import storage_format
    from workshop_utils.corpus import load_documents
    from workshop_utils.corpus.connectors.storage_format import read_storage_format

    documents = load_documents(groups=None)
    titles = {str(one.id): one.metadata["title"] for one in documents}
    exact = 0
    for one in documents:
        if one.metadata["status"] == "superseded":  # the page bears a warning that the document has not
            continue
        blocks = parse_blocks(one.page_content)
        page = read_storage_format(storage_format(one, blocks, titles, ["a.xlsx"]))
        text = f"# {one.metadata['title']}\n\n{page.markdown}"
        assert words(text) == words(one.page_content), one.id
        assert page.properties["document"] == one.id
        exact += text.strip() == one.page_content.strip()
    # line breaks within a paragraph are not kept
    assert exact >= 0.8 * len(documents)
