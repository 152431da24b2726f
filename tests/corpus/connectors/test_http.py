"""Retries, tokens, pinned hosts and limits, against answers made by hand."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from email.utils import format_datetime
from itertools import islice
from typing import Any

import httpx
import pytest

from workshop_utils.corpus.connectors import http
from workshop_utils.corpus.connectors.http import (
    ATTEMPTS,
    Bearer,
    Client,
    ClientCredentials,
    HttpError,
    SourceError,
    retry_after,
)
from workshop_utils.errors import InputError

BASE = "https://example.net/wiki"
Answer = httpx.Response | Exception


class Script(httpx.BaseTransport):
    """Answers from a list, then 200 with an empty-looking object; keeps the requests."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        # a copy: signing it again would change the one that is kept
        self.requests.append(
            httpx.Request(request.method, request.url, headers=request.headers, content=request.content)
        )
        answer = self.answers.pop(0) if self.answers else httpx.Response(200, json={"ok": 1})
        if isinstance(answer, Exception):
            raise answer
        return answer


def client(script: Script, auth: httpx.Auth | None = None, **settings: Any) -> tuple[Client, list[float]]:
    waits: list[float] = []
    return Client(BASE, auth or Bearer("t0k"), transport=script, sleep=waits.append, **settings), waits


def status(code: int, **headers: str) -> httpx.Response:
    return httpx.Response(code, json={"message": "no"}, headers={k.replace("_", "-"): v for k, v in headers.items()})


# -- retries --

TRANSIENT: list[Callable[[], Answer]] = [
    *(lambda code=code: status(code) for code in (429, 500, 502, 503, 504)),
    lambda: httpx.ConnectError("refused"),
    lambda: httpx.ReadTimeout("slow"),
    lambda: httpx.RemoteProtocolError("cut"),
]


@pytest.mark.parametrize("trouble", TRANSIENT)
def test_trouble_that_passes_is_waited_for(trouble: Callable[[], Answer]) -> None:
    script = Script(*(trouble() for _ in range(ATTEMPTS - 1)))
    one, waits = client(script)
    assert one.get_json("/x") == {"ok": 1}
    assert len(waits) == ATTEMPTS - 1
    # half a second, one, two, ... and up to one more of jitter
    assert all(0.5 * 2**n <= wait <= 0.5 * 2**n + 1 for n, wait in enumerate(waits))


@pytest.mark.parametrize("trouble", TRANSIENT)
def test_trouble_that_stays_is_an_error(trouble: Callable[[], Answer]) -> None:
    script = Script(*(trouble() for _ in range(ATTEMPTS + 5)))
    with pytest.raises(SourceError, match=r"tried 6 times: try again later"):
        client(script)[0].get_json("/x")
    assert len(script.requests) == ATTEMPTS


@pytest.mark.parametrize("code", [400, 401, 403, 404, 409, 410, 501])
def test_other_errors_are_not_repeated(code: int) -> None:
    script = Script(status(code))
    with pytest.raises(HttpError) as caught:
        client(script)[0].get_json("/x", key="secret")
    assert caught.value.status == code
    assert len(script.requests) == 1
    assert "secret" not in str(caught.value)


def test_retry_after_is_honoured() -> None:
    moment = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=50)
    script = Script(
        status(429, Retry_After="17"), status(503, Retry_After=format_datetime(moment, usegmt=True)), status(429)
    )
    one, (first, second, third) = (lambda pair: (pair[0].get_json("/x"), pair[1]))(client(script))
    assert one == {"ok": 1}
    assert 17 <= first <= 21.25
    assert 47 <= second <= 62.5
    assert 2 <= third <= 3


def test_a_source_that_asks_for_an_hour_is_left_alone() -> None:
    script = Script(status(429, Retry_After="3600"))
    with pytest.raises(HttpError, match="asks to wait 3600 s"):
        client(script)[0].get_json("/x")
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, None), ("0", 0), ("1.5", 1.5), ("-3", 0), ("soon", None), ("", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)],
)
def test_forms_of_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after(header) == seconds


# -- tokens --


def credentials() -> ClientCredentials:
    return ClientCredentials("https://login.example/t/oauth2/v2.0/token", "id", "hush", "s/.default")


def token(value: str) -> httpx.Response:
    return httpx.Response(200, json={"access_token": value, "expires_in": 1})


def test_a_token_is_fetched_once_and_renewed_when_it_has_expired() -> None:
    script = Script(token("A"), httpx.Response(200, json={"n": 1}), httpx.Response(200, json={"n": 2}), status(401))
    script.answers += [token("B"), httpx.Response(200, json={"n": 3})]
    one, _ = client(script, credentials())
    assert [one.get_json(f"/{n}")["n"] for n in (1, 2, 3)] == [1, 2, 3]
    assert [r.headers.get("Authorization") for r in script.requests] == [
        *(None, "Bearer A", "Bearer A", "Bearer A", None, "Bearer B"),
    ]
    assert b"client_secret=hush" in script.requests[0].content
    assert b"grant_type=client_credentials" in script.requests[0].content


def test_a_token_that_is_refused_at_once_is_not_renewed_for_ever() -> None:
    script = Script(token("A"), status(401), token("B"), status(401))
    with pytest.raises(HttpError, match="token is refused"):
        client(script, credentials())[0].get_json("/x")
    assert len(script.requests) == 4


def test_the_login_may_be_throttled_too() -> None:
    script = Script(status(429, Retry_After="3"), token("A"))
    one, waits = client(script, credentials())
    assert one.get_json("/x") == {"ok": 1}
    assert len(waits) == 1


@pytest.mark.parametrize(
    "answer", [{"error_description": "AADSTS7000215: Invalid client secret"}, {}, {"access_token": 1}]
)
def test_a_refused_login_is_an_error_that_names_the_fix(answer: dict[str, Any]) -> None:
    script = Script(httpx.Response(401, json=answer))
    with pytest.raises(SourceError, match=r"gives no token \(401\).*Check the tenant, the client id and") as caught:
        client(script, credentials())[0].get_json("/x")
    assert str(answer.get("error_description", "")) in str(caught.value)
    assert "hush" not in str(caught.value)
    assert len(script.requests) == 1


# -- hosts --


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.net/x",
        "http://example.net/wiki/x",
        "https://example.net:8443/wiki/x",
        "https://example.net.evil.net/x",
        "https://user@example.net/x",
        "//evil.net/x",
        "file:///etc/passwd",
        "https://example.net@evil.net/",
    ],
)
def test_only_the_configured_origin_is_asked(link: str) -> None:
    script = Script()
    one, _ = client(script)
    for ask in (one.get_json, one.download, lambda at: list(one.pages("/x", lambda _: at))):
        script.answers = [httpx.Response(200, json={"ok": 1})]
        with pytest.raises(SourceError, match=r"another host|no URL"):
            ask(link)
    assert [str(request.url) for request in script.requests] == [f"{BASE}/x"]


@pytest.mark.parametrize("link", ["/x?a=1", "/wiki/x?a=1", f"{BASE}/x?a=1", "HTTPS://EXAMPLE.net:443/wiki/x?a=1"])
def test_links_with_and_without_the_context_path_mean_the_same(link: str) -> None:
    script = Script()
    client(script)[0].get_json(link)
    assert str(script.requests[0].url).lower().replace(":443", "") == f"{BASE}/x?a=1"


def test_redirects_of_interfaces_are_not_followed() -> None:
    script = Script(httpx.Response(302, headers={"Location": "https://evil.net/"}))
    with pytest.raises(SourceError, match="not a JSON object"):
        client(script)[0].get_json("/x")
    assert len(script.requests) == 1


def test_downloads_follow_redirects_to_allowed_hosts_without_the_token() -> None:
    script = Script(
        httpx.Response(302, headers={"Location": "https://files.cdn.net/a"}), httpx.Response(200, content=b"abc")
    )
    assert client(script, download_hosts=(".cdn.net",))[0].download("/f") == b"abc"
    assert [r.headers.get("Authorization") for r in script.requests] == ["Bearer t0k", None]


@pytest.mark.parametrize(
    "target", ["http://files.cdn.net/a", "https://cdn.net.evil.net/", "https://evilcdn.net/", "https://cdn.net:8/"]
)
def test_downloads_follow_redirects_nowhere_else(target: str) -> None:
    script = Script(httpx.Response(302, headers={"Location": target}))
    with pytest.raises(SourceError, match="add the host to download_hosts"):
        client(script, download_hosts=(".cdn.net", "cdn.net"))[0].download("/f")
    assert len(script.requests) == 1


def test_redirects_end() -> None:
    script = Script(*(httpx.Response(302, headers={"Location": "/f"}) for _ in range(50)))
    with pytest.raises(SourceError, match="redirected more than"):
        client(script)[0].download("/f")


# -- limits --


def test_sizes_are_limited_also_when_compressed(monkeypatch: pytest.MonkeyPatch) -> None:
    import gzip

    monkeypatch.setattr(http, "MAX_FILE", 1000)
    packed = httpx.Response(200, content=gzip.compress(b"0" * 1_000_000), headers={"Content-Encoding": "gzip"})
    for answer in (httpx.Response(200, content=b"0" * 1001), packed):
        with pytest.raises(SourceError, match="larger than"):
            client(Script(answer))[0].download("/f")
    assert client(Script(httpx.Response(200, content=b"0" * 1000)))[0].download("/f") == b"0" * 1000


@pytest.mark.parametrize("body", [b"<html>log in</html>", b"[1]", b"", b"null", b"\xff\xfe", b'{"a":'])
def test_an_answer_that_is_no_object_is_an_error_that_names_the_fix(body: bytes) -> None:
    with pytest.raises(SourceError, match=r"not a JSON object.*Check base_url"):
        client(Script(httpx.Response(200, content=body)))[0].get_json("/x")


def test_pages_in_a_circle_end() -> None:
    script = Script()
    with pytest.raises(SourceError, match="in a circle"):
        list(islice(client(script)[0].pages("/a", lambda _: "/b"), 10))
    assert len(script.requests) == 2


@pytest.mark.parametrize(
    "url", ["", "example.net", "ftp://example.net", "https://", "https://u:p@example.net", "https://[x]/"]
)
def test_a_base_url_must_be_one(url: str) -> None:
    with pytest.raises(InputError, match="base_url"):
        Client(url, Bearer("x"))
