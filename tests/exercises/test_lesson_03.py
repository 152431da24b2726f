"""The exercises of lesson 03: blank, reference, and wrong answers with their messages."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from workshop_utils.authoring.proving import prove

Asked = list[float | None]
Holdings = dict[str, tuple[str, list[str]]]
Versions = list[dict[str, str | None]]


def own(asked: Asked, first: float, longest: float) -> list[float]:
    return [min(first * 2**n, longest) for n in range(len(asked))]


def since_told(asked: Asked, first: float, longest: float) -> list[float]:
    """Starts the doubling anew after each word from the source."""
    found, failures = list[float](), 0
    for told in asked:
        found.append(min(first * 2**failures, longest) if told is None else told)
        failures = failures + 1 if told is None else 0
    return found


def told_or_own(asked: Asked, first: float, longest: float) -> list[float]:
    return [s if t is None else t for t, s in zip(asked, own(asked, first, longest), strict=True)]


def test_waits() -> None:
    prove(
        "waits",
        wrong={
            "length": [lambda a, f, m: told_or_own(a, f, m)[:-1], lambda a, f, m: told_or_own(a, f, m)[:1]],
            "zero": [lambda a, f, m: [t or s for t, s in zip(a, own(a, f, m), strict=True)]],
            "capped": [lambda a, f, m: [min(w, m) for w in told_or_own(a, f, m)], own],
            "not_to_the_letter": [
                lambda a, f, m: [w * 1.25 if t else w for t, w in zip(a, told_or_own(a, f, m), strict=True)]
            ],
            "forgets_the_row": [since_told],
            "no_limit": [lambda a, f, _m: told_or_own(a, f, 1e9)],
            "not_doubled": [
                lambda a, f, _m: [f if t is None else t for t in a],
                lambda a, f, m: [min(f * (n + 1), m) if t is None else t for n, t in enumerate(a)],
                lambda a, f, m: told_or_own(a, f * 2, m),
            ],
            "type": [lambda a, f, m: sum(told_or_own(a, f, m))],
        },
    )


def plan(
    source: Holdings,
    index: Holdings,
    same: Callable[[tuple[str, list[str]], tuple[str, list[str]]], bool] = lambda s, i: (
        s[0] == i[0] and set(s[1]) == set(i[1])
    ),
) -> dict[str, list[str]]:
    return {
        "add": sorted(source.keys() - index.keys()),
        "replace": sorted(k for k in source.keys() & index.keys() if not same(source[k], index[k])),
        "delete": sorted(index.keys() - source.keys()),
    }


def test_plan_sync() -> None:
    prove(
        "plan_sync",
        wrong={
            "keys": [lambda s, i: {"add": plan(s, i)["add"], "replace": plan(s, i)["replace"]}],
            "deletes_present": [lambda s, i: plan(s, i) | {"delete": sorted(i)}],
            "keeps_gone": [
                lambda s, i: plan(s, i) | {"delete": []},
                lambda s, i: plan(s, i) | {"delete": plan(s, i)["add"]},
                lambda s, i: plan(i, s),
            ],
            "adds_present": [lambda s, i: plan(s, i) | {"add": sorted(s)}],
            "misses_text": [
                lambda s, i: plan(s, i, lambda a, b: set(a[1]) == set(b[1])),
                lambda s, i: plan(s, i) | {"replace": []},
            ],
            "misses_rights": [
                lambda s, i: plan(s, i, lambda a, b: a[0] == b[0]),
                # a right that was added is seen, one that was taken away is not
                lambda s, i: plan(s, i, lambda a, b: a[0] == b[0] and (a[1] == ["hr"] or set(a[1]) <= set(b[1]))),
            ],
            "order_of_groups": [lambda s, i: plan(s, i, lambda a, b: a == b)],
            "replaces_all": [lambda s, i: plan(s, i) | {"replace": sorted(s.keys() & i.keys())}],
            "other": [
                lambda s, i: plan(s, i) | {"replace": sorted({*plan(s, i)["replace"], *plan(s, i)["add"]})},
                lambda s, i: plan(s, i) | {"add": []},
            ],
            "unsorted": [lambda s, i: {key: found[::-1] for key, found in plan(s, i).items()}],
            "type": [lambda s, i: list(plan(s, i).values())],
        },
    )


def valid(versions: Versions, day: str, ends: Callable[[str, str], bool] = lambda day, end: day < end) -> list[str]:
    begins = {str(v["id"]): str(v["date"]) for v in versions}
    return sorted(
        str(v["id"])
        for v in versions
        if str(v["date"]) <= day and (v["superseded_by"] is None or ends(day, begins[str(v["superseded_by"])]))
    )


def latest(versions: Versions, day: str) -> list[str]:
    """The latest version alone, of whatever document."""
    begun = [v for v in versions if str(v["date"]) <= day]
    return [str(v["id"]) for v in sorted(begun, key=lambda v: str(v["date"]))[-1:]]


def test_in_force() -> None:
    prove(
        "in_force",
        wrong={
            "today": [latest, lambda _v, _d: []],
            "past": [
                lambda v, _d: sorted(str(x["id"]) for x in v if x["superseded_by"] is None),
                lambda v, d: sorted(str(x["id"]) for x in v if x["superseded_by"] is None and str(x["date"]) <= d),
            ],
            "too_early": [lambda v, d: valid(v, d) or ["RA-20v1"]],
            "two_versions": [lambda v, d: sorted(str(x["id"]) for x in v if str(x["date"]) <= d)],
            "last_day": [lambda v, d: valid(v, "2023-06-05" if d == "2023-06-04" else d)],
            "first_day": [
                lambda v, d: valid(v, d, lambda day, end: day <= end),
                lambda v, d: [i for i in valid(v, d) if not any(x["id"] == i and x["date"] == d for x in v)],
            ],
            "unsorted": [lambda v, d: valid(v, d)[::-1]],
            "type": [lambda v, d: ", ".join(valid(v, d))],
        },
    )


LINK = r"https?://[^\s()<>\[\]\"'\\]+"


def foreign(
    answer: str,
    hosts: list[str],
    ours: Callable[[str, str], bool] = lambda name, host: name == host or name.endswith(f".{host}"),
    name: Callable[[str], str] = lambda link: urlsplit(link).hostname or "",
    link: str = LINK,
) -> list[str]:
    return [found for found in re.findall(link, answer) if not any(ours(name(found), host) for host in hosts)]


def by_hand(link: str) -> str:
    """The host as one would cut it out, with its port and what stands before the @."""
    return link.split("/")[2]


def test_foreign_links() -> None:
    prove(
        "foreign_links",
        wrong={
            "invented": [lambda a, _h: [a]],
            "blocks_ours": [lambda a, _h: re.findall(LINK, a), lambda a, h: foreign(a, h[:1])],
            "blocks_subdomain": [lambda a, h: foreign(a, h, lambda name, host: name == host)],
            "case": [lambda a, h: foreign(a, h, name=by_hand)],
            "port": [lambda a, h: foreign(a, h, name=lambda link: by_hand(link).lower())],
            "misses": [lambda _a, _h: []],
            "misses_http": [lambda a, h: foreign(a, h, link=LINK.replace("s?", "s"))],
            "bracket": [lambda a, h: foreign(a, h, link=r"https?://\S+")],
            "several": [lambda a, h: foreign(a, h)[:1], lambda a, h: sorted(foreign(a, h), reverse=True)],
            "starts_like_ours": [lambda a, h: foreign(a, h, lambda name, host: host in name)],
            "ends_like_ours": [lambda a, h: foreign(a, h, lambda name, host: name.endswith(host))],
            "named_in_link": [
                lambda a, h: [link for link in foreign(a, h) if not any(link.lower().endswith(host) for host in h)]
            ],
            "user_before_at": [
                lambda a, h: foreign(a, h, name=lambda link: by_hand(link).lower().partition("@")[0].partition(":")[0])
            ],
            "backslash": [lambda a, h: foreign(a, h, link=LINK.replace("\\\\", ""))],
            "type": [lambda a, h: " ".join(foreign(a, h))],
        },
    )
