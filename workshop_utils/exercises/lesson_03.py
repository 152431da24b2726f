"""Checks of lesson 03."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from workshop_utils.exercises.judging import Exercise, Wrong, expect_type

Holdings = dict[str, tuple[str, list[str]]]

SOURCE: Holdings = {
    "HR-01": ("a1", ["everyone"]),
    "HR-02": ("b2", ["everyone"]),
    "HR-08": ("c1", ["hr"]),
    "IT-16": ("e1", ["everyone"]),
    "RA-13": ("d1", ["qra", "heron-team"]),
    "RA-14": ("f1", ["everyone", "legal"]),
}
INDEX: Holdings = {
    "HR-01": ("a1", ["everyone"]),
    "HR-02": ("b1", ["everyone"]),
    "HR-08": ("c1", ["everyone"]),
    "KB-120": ("g1", ["everyone"]),
    "RA-13": ("d1", ["heron-team", "qra"]),
    "RA-14": ("f1", ["legal"]),
}


def check_waits(attempt: Callable[..., Any]) -> None:
    cases: list[tuple[list[float | None], float, float]] = [
        ([None], 0.5, 30.0),
        ([None, None, None, None], 0.5, 30.0),
        ([None, None, None, None], 1.0, 3.0),
        ([7.0], 0.5, 30.0),
        ([90.0], 0.5, 30.0),
        ([0.0], 0.5, 30.0),
        ([None, None, 7.0, None], 0.5, 30.0),
        ([], 0.5, 30.0),
    ]
    for asked, first, longest in cases:
        found = attempt(asked, first, longest)
        expect_type(found, list, tuple)
        backed_off = [min(first * 2**n, longest) for n in range(len(asked))]
        wanted = [own if told is None else told for told, own in zip(asked, backed_off, strict=True)]
        told = {"call": f"waits({asked}, {first}, {longest})", "found": list(found), "wanted": wanted}
        if len(found) != len(wanted):
            raise Wrong("length", **told)
        wrong = [n for n in range(len(wanted)) if not math.isclose(float(found[n]), wanted[n])]
        if not wrong:
            continue
        n = wrong[0]
        if asked[n] == 0:
            raise Wrong("zero", **told)
        if asked[n] is not None:
            raise Wrong("capped" if float(found[n]) < wanted[n] else "not_to_the_letter", **told)
        if any(entry is not None for entry in asked[:n]):
            raise Wrong("forgets_the_row", **told)
        raise Wrong("no_limit" if float(found[n]) > longest else "not_doubled", **told)


def check_plan_sync(attempt: Callable[..., Any]) -> None:
    for source, index in ((SOURCE, INDEX), (SOURCE, {}), (SOURCE, SOURCE), (dict(list(SOURCE.items())[:1]), INDEX)):
        found = attempt(source, index)
        expect_type(found, dict)
        if set(found) != {"add", "replace", "delete"}:
            raise Wrong("keys", found=sorted(map(str, found)))
        plan = {key: list(found[key]) for key in ("add", "replace", "delete")}
        gone, new, both = index.keys() - source.keys(), source.keys() - index.keys(), source.keys() & index.keys()
        if lost := sorted(both & set(plan["delete"])):
            raise Wrong("deletes_present", document=lost[0])
        if left := sorted(gone - set(plan["delete"])):
            raise Wrong("keeps_gone", document=left[0])
        for key in sorted(both):
            (old_text, old_rights), (text, rights) = index[key], source[key]
            told = {"document": key, "before": old_rights, "after": rights}
            replaced, same_rights = key in plan["replace"], set(old_rights) == set(rights)
            if key in plan["add"]:
                raise Wrong("adds_present", document=key)
            if old_text != text and not replaced:
                raise Wrong("misses_text", document=key)
            if not same_rights and not replaced:
                raise Wrong("misses_rights", **told)
            if old_text == text and same_rights and replaced:
                raise Wrong("order_of_groups" if old_rights != rights else "replaces_all", **told)
        if set(plan["add"]) != new or set(plan["delete"]) != gone or not set(plan["replace"]) <= both:
            raise Wrong("other", plan=plan)
        for part, entries in plan.items():
            if entries != sorted(entries):
                raise Wrong("unsorted", part=part, found=entries)


def check_in_force(attempt: Callable[..., Any]) -> None:
    versions: list[dict[str, str | None]] = [
        {"id": "RA-01v2", "date": "2025-03-17", "superseded_by": None},
        {"id": "RA-01v1", "date": "2023-02-13", "superseded_by": "RA-01v2"},
        {"id": "RA-20v1", "date": "2021-01-04", "superseded_by": "RA-20v2"},
        {"id": "RA-20v2", "date": "2023-06-05", "superseded_by": "RA-20v3"},
        {"id": "RA-20v3", "date": "2025-01-20", "superseded_by": None},
        {"id": "RA-05", "date": "2024-05-21", "superseded_by": None},
    ]
    cases: list[tuple[str, list[str], str]] = [
        ("2025-12-01", ["RA-01v2", "RA-05", "RA-20v3"], "today"),
        ("2024-06-30", ["RA-01v1", "RA-05", "RA-20v2"], "past"),
        ("2020-01-01", [], "too_early"),
        ("2023-06-04", ["RA-01v1", "RA-20v1"], "last_day"),
        ("2025-03-17", ["RA-01v2", "RA-05", "RA-20v3"], "first_day"),
    ]
    for day, wanted, mistake in cases:
        found = attempt(versions, day)
        expect_type(found, list, tuple, set)
        told = {"day": day, "found": sorted(map(str, found)) or "nothing", "wanted": wanted or "nothing"}
        if set(found) != set(wanted):
            stems = [str(key).partition("v")[0] for key in found]
            if len(set(stems)) < len(stems) and mistake != "first_day":
                raise Wrong("two_versions", **told)
            raise Wrong(mistake, **told)
        if list(found) != wanted:
            raise Wrong("unsorted", **told)


def check_foreign_links(attempt: Callable[..., Any]) -> None:
    hosts = ["clairval.example", "quaylink.example"]
    cases: list[tuple[str, list[str], str]] = [
        ("Call ext. 6213, Monday to Friday.", [], "invented"),
        ("See https://clairval.example/help and https://quaylink.example/a.", [], "blocks_ours"),
        ("See https://wiki.clairval.example/it?page=1.", [], "blocks_subdomain"),
        ("See https://Clairval.Example/help", [], "case"),
        ("See https://clairval.example:8443/help", [], "port"),
        ("Go to https://evil.example/x now", ["https://evil.example/x"], "misses"),
        ("Go to http://evil.example/x now", ["http://evil.example/x"], "misses_http"),
        ("![](https://evil.example/x?q=secret)", ["https://evil.example/x?q=secret"], "bracket"),
        (
            "https://evil.example/1 then https://clairval.example/2 then https://evil.example/3",
            ["https://evil.example/1", "https://evil.example/3"],
            "several",
        ),
        (
            "https://clairval.example.evil.example/",
            ["https://clairval.example.evil.example/"],
            "starts_like_ours",
        ),
        ("https://evilclairval.example/", ["https://evilclairval.example/"], "ends_like_ours"),
        (
            "https://evil.example/?to=clairval.example",
            ["https://evil.example/?to=clairval.example"],
            "named_in_link",
        ),
        (
            "https://clairval.example@evil.example/",
            ["https://clairval.example@evil.example/"],
            "user_before_at",
        ),
        ("https://evil.example\\@clairval.example/", ["https://evil.example"], "backslash"),
    ]
    for answer, wanted, mistake in cases:
        found = attempt(answer, hosts)
        expect_type(found, list, tuple)
        if list(found) != wanted:
            raise Wrong(mistake, answer=answer, found=list(found) or "nothing", wanted=wanted or "nothing")


EXERCISES = (
    Exercise("waits", check_waits),
    Exercise("plan_sync", check_plan_sync),
    Exercise("in_force", check_in_force),
    Exercise("foreign_links", check_foreign_links),
)
