"""HTTP as both connectors need it: retried, limited in size, and kept to the hosts that were configured."""

from __future__ import annotations

import datetime as dt
import random
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from workshop_utils.errors import InputError, WorkshopError

TRANSIENT = frozenset({429, 500, 502, 503, 504})
ATTEMPTS = 6
# a source that asks for more patience than this is left alone until the next run
LONGEST_WAIT = 120.0
TIMEOUT = httpx.Timeout(30.0, connect=10.0)
MAX_JSON = 100_000_000
MAX_FILE = 50_000_000
MAX_REDIRECTS = 5

_backoff = wait_exponential_jitter(multiplier=0.5, max=30.0, jitter=1.0)


class SourceError(WorkshopError):
    """A source cannot be read; the message says what to change."""


class HttpError(SourceError):
    """The source refused a request for good.

    Attributes:
        status: of the last response.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class UnexpectedAnswerError(SourceError):
    """The answer is none of the interface's: too long, not JSON, or pointing to a host that was not configured."""


# what may go wrong with one page or file; the parsers of its parts raise these
ITEM_ERRORS = (SourceError, ValueError, LookupError, TypeError, AttributeError, RecursionError)


def stop_unless_local(error: Exception) -> None:
    """Raise an error again that is not one page's or file's, but would meet the next one too."""
    local = (isinstance(error, HttpError) and error.status in {400, 403, 404, 410, 500}) or isinstance(
        error, UnexpectedAnswerError
    )
    if isinstance(error, SourceError) and not local:
        raise error


def reason(error: Exception) -> str:
    """Why a page or file was not read, on one line."""
    if isinstance(error, LookupError):
        return f"the source's answer lacks {error}"
    return " ".join(str(error).split())[:300] or type(error).__name__


class _TransientError(Exception):
    """A response or a failure that may be better next time."""

    def __init__(self, what: str, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(what)
        self.status, self.retry_after = status, retry_after


class Client:
    """JSON and files from one origin.

    Args:
        base_url: where the interface begins, for example ``https://example.atlassian.net/wiki``.
        auth: how requests to that origin identify themselves; no other host gets to see it.
        download_hosts: other hosts that files may come from, over https; ``.example.com`` allows its subdomains.
        transport: how requests are carried; the network when None.
        sleep: waits this many seconds between attempts.

    Raises:
        InputError: ``base_url`` is none.
    """

    def __init__(
        self,
        base_url: str,
        auth: httpx.Auth,
        *,
        download_hosts: Sequence[str] = (),
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.base = origin_of(base_url)
        self.path = httpx.URL(base_url).path.rstrip("/")
        self.auth = auth
        self.download_hosts = tuple(download_hosts)
        self._client = httpx.Client(transport=transport, timeout=TIMEOUT, follow_redirects=False)
        self._sleep = sleep

    def url(self, link: str) -> httpx.URL:
        """A link of the interface in full: absolute, or a path with or without that of ``base_url``.

        Raises:
            UnexpectedAnswerError: it leads to another origin.
        """
        if link.startswith("/") and not link.startswith("//"):
            inside = link == self.path or link.startswith(f"{self.path}/")
            link = f"{self.base}{'' if inside else self.path}{link}"
        url = _parse(link)
        if _origin(url) != self.base or url.userinfo:
            raise UnexpectedAnswerError(
                f"{self.base} refers to {one_url(url)}, which is another host, and was not followed. If that is the "
                "right address, make it the base_url."
            )
        return url

    def get_json(self, link: str, **params: str | int) -> dict[str, Any]:
        """The JSON object at a link.

        Raises:
            HttpError: the source answered with an error, after retries if that could help.
            SourceError: it cannot be reached, or the answer is not what it should be.
        """
        url = self.url(link)
        found = _object(self._send(url.copy_merge_params(params) if params else url, MAX_JSON))
        if not found:
            raise UnexpectedAnswerError(
                f"{one_url(url)} answers with something that is not a JSON object, a login page for example. "
                "Check base_url: that of Confluence Cloud ends in /wiki."
            )
        return found

    def pages(self, link: str, next_link: Callable[[dict[str, Any]], str | None], **params: str | int) -> Iterator[Any]:
        """The JSON objects at a link and at those that follow it.

        Raises:
            SourceError: as for ``get_json``; the links run in a circle.
        """
        seen = set[str]()
        answer = self.get_json(link, **params)
        while True:
            yield answer
            following = next_link(answer)
            if not following:
                return
            if following in seen:
                raise UnexpectedAnswerError(f"The pages of {link} follow each other in a circle. Try again later.")
            seen.add(following)
            answer = self.get_json(following)

    def download(self, link: str) -> bytes:
        """A file, wherever allowed hosts redirect to.

        Raises:
            HttpError: the source answered with an error.
            SourceError: it cannot be reached, leads to another host, or the file is larger than ``MAX_FILE`` bytes.
        """
        url = self._file_url(link)
        for _ in range(MAX_REDIRECTS):
            response = self._send(url, MAX_FILE)
            if not response.is_redirect:
                return response.content
            url = self._file_url(str(url.join(response.headers["Location"])))
        raise UnexpectedAnswerError(f"{one_url(url)} is redirected more than {MAX_REDIRECTS} times. Try again later.")

    def _file_url(self, link: str) -> httpx.URL:
        url = self.url(link) if link.startswith("/") else _parse(link)
        allowed = _origin(url) == self.base or (
            url.scheme == "https"
            and url.port is None
            and any(url.host == host or (host[0] == "." and url.host.endswith(host)) for host in self.download_hosts)
        )
        if not allowed or url.userinfo:
            raise UnexpectedAnswerError(
                f"A file is said to lie at {one_url(url)}, which is another host, and was not fetched. If that is the "
                "right address, add the host to download_hosts."
            )
        return url

    def _send(self, url: httpx.URL, limit: int) -> httpx.Response:
        """The response to a GET, with its body, once no retry is due."""
        retrying = Retrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=_wait,
            retry=retry_if_exception_type(_TransientError),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return retrying(self._send_once, url, limit)
        except _TransientError as error:
            message = f"{one_url(url)}: {error}. It was tried {ATTEMPTS} times: try again later"
            if error.status:
                raise HttpError(f"{message}.", error.status) from error
            raise SourceError(f"{message}, and check base_url, the network and the proxy.") from error

    def _send_once(self, url: httpx.URL, limit: int) -> httpx.Response:
        auth = self.auth if _origin(url) == self.base else None
        try:
            with self._client.stream("GET", url, auth=auth) as response:
                _raise_for(response)
                body = bytearray()
                for piece in response.iter_bytes():
                    body += piece
                    if len(body) > limit:
                        raise UnexpectedAnswerError(f"{one_url(url)} is larger than {limit // 1_000_000} MB: not read.")
                return httpx.Response(response.status_code, headers=_plain(response.headers), content=bytes(body))
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise _TransientError(f"no answer ({type(error).__name__}: {error})") from error


class ClientCredentials(httpx.Auth):
    """An application's own token (OAuth 2.0, RFC 6749 section 4.4): fetched when needed, renewed once when refused."""

    def __init__(self, token_url: str, client_id: str, client_secret: str, scope: str) -> None:
        self.token_url = token_url
        self._form = {
            "client_id": client_id,
            "client_secret": client_secret,
            "scope": scope,
            "grant_type": "client_credentials",
        }
        self._token: str | None = None

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sign the request; httpx drives this generator."""
        if self._token is None:
            yield from self._fetch()
        request.headers["Authorization"] = f"Bearer {self._token}"
        response = yield request
        if response.status_code == 401:
            yield from self._fetch()
            request.headers["Authorization"] = f"Bearer {self._token}"
            yield request

    def _fetch(self) -> Generator[httpx.Request, httpx.Response, None]:
        response = yield httpx.Request("POST", self.token_url, data=self._form)
        response.read()
        if response.status_code in TRANSIENT:
            raise _transient(response)
        answer = _object(response)
        if not isinstance(answer.get("access_token"), str):
            reason = str(answer.get("error_description", "no reason given"))[:300]
            raise SourceError(
                f"{self.token_url} gives no token ({response.status_code}): {reason}. Check the tenant, the client id "
                "and the client secret, which expires."
            )
        self._token = answer["access_token"]


class Bearer(httpx.Auth):
    """A fixed token, such as a personal access token of Confluence Data Center."""

    def __init__(self, token: str) -> None:
        self._header = f"Bearer {token}"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sign the request; httpx drives this generator."""
        request.headers["Authorization"] = self._header
        yield request


def origin_of(base_url: str) -> str:
    """Scheme, host and port of a URL.

    Raises:
        InputError: it is no http or https URL, or it holds a user's name.
    """
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in {"http", "https"} or not url.host or url.userinfo:
        raise InputError(f"{base_url!r} is no base_url. It must look like https://example.atlassian.net/wiki.")
    return _origin(url)


def one_url(url: httpx.URL) -> str:
    """A URL for a message: without its query, which may hold a key."""
    return str(url.copy_with(query=None, fragment=None, userinfo=b""))


def _origin(url: httpx.URL) -> str:
    host = f"[{url.host}]" if ":" in url.host else url.host.lower()
    usual = url.port in {None, {"http": 80, "https": 443}.get(url.scheme)}
    return f"{url.scheme}://{host}{'' if usual else f':{url.port}'}"


def _parse(link: str) -> httpx.URL:
    try:
        return httpx.URL(link)
    except (httpx.InvalidURL, TypeError) as error:
        raise UnexpectedAnswerError(f"The source refers to {link!r}, which is no URL.") from error


def _plain(headers: httpx.Headers) -> dict[str, str]:
    """The headers that matter once the body is read and decoded."""
    return {key: headers[key] for key in ("Content-Type", "Location") if key in headers}


def _raise_for(response: httpx.Response) -> None:
    status = response.status_code
    if status < 400:
        return
    if status in TRANSIENT:
        raise _transient(response)
    remedy = {
        401: "The token is refused: it may be mistyped or have expired. Make a new one.",
        403: "The account may not read this: have it given the right.",
        404: "It is not there, or the account may not see it. Check base_url and the names.",
    }.get(status, "Check base_url and the settings.")
    raise HttpError(f"{one_url(response.request.url)} answers {status}. {remedy}", status)


def _transient(response: httpx.Response) -> Exception:
    status, seconds = response.status_code, retry_after(response.headers.get("Retry-After"))
    if seconds is not None and seconds > LONGEST_WAIT:
        where = one_url(response.request.url)
        return HttpError(f"{where} answers {status} and asks to wait {seconds:.0f} s: try again then.", status)
    return _TransientError(f"the source answers {status}", status, seconds)


def retry_after(header: str | None) -> float | None:
    """Seconds to wait by a Retry-After header, which holds seconds or a date; None when it says nothing."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return max(0.0, (moment - dt.datetime.now(dt.UTC)).total_seconds())


def _wait(state: RetryCallState) -> float:
    """What the source asks for, up to a quarter more so that not all return at once; else longer each time."""
    error = state.outcome.exception() if state.outcome else None
    asked = getattr(error, "retry_after", None)
    return float(_backoff(state) if asked is None else asked * random.uniform(1, 1.25))


def _object(response: httpx.Response) -> dict[str, Any]:
    try:
        found = response.json()
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}
