# ruff: noqa
# fmt: off
# mypy: disable-error-code="no-any-return"
"""Reference answers: generated from lessons/03_living_knowledge.py by `workshop build`; do not edit."""

import re
from urllib.parse import urlsplit


def waits(asked: list[float | None], first: float, longest: float) -> list[float]:
    """Seconds to wait after each of several failures in a row.

    asked: what Retry-After said each time, None where there was none. Example:
    waits([None, None, 7.0, None], 0.5, 30.0) is [0.5, 1.0, 7.0, 4.0].
    """
    backed_off = [min(first * 2**failure, longest) for failure in range(len(asked))]
    return [own if told is None else told for told, own in zip(asked, backed_off, strict=True)]


def plan_sync(
    source: dict[str, tuple[str, list[str]]], index: dict[str, tuple[str, list[str]]]
) -> dict[str, list[str]]:
    """The documents to "add", to "replace" and to "delete", so that the index equals the source; each list sorted.

    source, index: document id -> (hash of the text, groups that may read it).
    """

    def same(key: str) -> bool:
        return source[key][0] == index[key][0] and set(source[key][1]) == set(index[key][1])

    return {
        "add": sorted(source.keys() - index.keys()),
        "replace": sorted(key for key in source.keys() & index.keys() if not same(key)),
        "delete": sorted(index.keys() - source.keys()),
    }


def in_force(versions: list[dict[str, str | None]], day: str) -> list[str]:
    """Ids of the versions in force on a day, sorted; each version has "id", "date" and "superseded_by"."""
    begins = {str(version["id"]): str(version["date"]) for version in versions}
    valid = [
        str(version["id"])
        for version in versions
        if str(version["date"]) <= day
        and (version["superseded_by"] is None or day < begins[str(version["superseded_by"])])
    ]
    return sorted(valid)


def foreign_links(answer: str, hosts: list[str]) -> list[str]:
    """The links in an answer that lead to other hosts than these and their subdomains, in order.

    hosts: in lower case, such as "clairval.example".
    """
    links = re.findall(r"https?://[^\s()<>\[\]\"'\\]+", answer, re.IGNORECASE)

    def trusted(link: str) -> bool:
        name = urlsplit(link).hostname or ""
        return any(name == host or name.endswith(f".{host}") for host in hosts)

    return [link for link in links if not trusted(link)]
