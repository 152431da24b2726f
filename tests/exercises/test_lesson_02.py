"""The exercises of lesson 02: blank, reference, and wrong answers with their messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workshop_utils.authoring.proving import prove


def cut(table: str, rows: int, head: int = 2, repeat: int = 2) -> list[str]:
    lines = table.split("\n")
    body = lines[head:]
    return ["\n".join(lines[:repeat] + body[i : i + rows]) for i in range(0, len(body), rows)]


def test_table_pieces() -> None:
    prove(
        "table_pieces",
        wrong={
            "no_header": [
                lambda t, r: cut(t, r, head=0, repeat=0),
                lambda t, r: [p if i == 0 else p.split("\n", 2)[2] for i, p in enumerate(cut(t, r))],
            ],
            "no_rule": [lambda t, r: cut(t, r, repeat=1)],
            "header_twice": [lambda t, r: cut(t, r, head=0)],
            "lost_row": [lambda t, r: [p for p in cut(t, r) if p.count("\n") == r + 1]],
            "sizes": [lambda t, r: cut(t, max(1, r - 2))],
            "type": [lambda t, _r: t],
        },
    )


def build(
    *,
    join: str = "$or",
    nobody: dict[str, Any] | None = None,
    before: str = "$lte",
    skip: str = "",
    together: str = "$and",
    access: bool = True,
) -> Callable[..., Any]:
    def where(
        groups: list[str], collection: str | None = None, as_of: int | None = None, current: bool = False
    ) -> dict[str, Any]:
        some = [{"acl": {"$contains": group}} for group in groups]
        clauses: list[dict[str, Any]] = []
        if not some:
            clauses.append(nobody or {"acl": {"$contains": "(nobody)"}})
        else:
            clauses.append(some[0] if len(some) == 1 else {join: some})
        if collection and skip != "collection":
            clauses.append({"collection": collection})
        if as_of and skip != "as_of":
            clauses.append({"day": {before: as_of}})
        if current and skip != "current":
            clauses.append({"status": "current"})
        if not access and len(clauses) > 1:
            clauses = clauses[1:]
        return clauses[0] if len(clauses) == 1 else {together: clauses}

    return where


def one_dict(
    groups: list[str], collection: str | None = None, as_of: int | None = None, current: bool = False
) -> dict[str, Any]:
    found: dict[str, Any] = {"acl": {"$contains": groups[0] if groups else "(nobody)"}}
    if len(groups) > 1:
        found = {"$or": [{"acl": {"$contains": group}} for group in groups]}
    if collection:
        found["collection"] = collection
    if as_of:
        found["day"] = {"$lte": as_of}
    if current:
        found["status"] = "current"
    return found


def latest_condition(
    groups: list[str], collection: str | None = None, as_of: int | None = None, current: bool = False
) -> dict[str, Any]:
    if collection and as_of and current:
        return build()(groups, collection, as_of)  # type: ignore[no-any-return]
    return build()(groups, collection, as_of, current)  # type: ignore[no-any-return]


def test_where() -> None:
    prove(
        "where",
        wrong={
            "several_keys": [one_dict],
            "refused": [
                lambda groups, **_: {"$or": [{"acl": {"$contains": group}} for group in groups]},
                lambda groups, **_: {"acl": {"$in": [groups]}},
            ],
            "readable": [lambda groups, **_: {"acl": groups[0] if groups else "(nobody)"}],
            "any_group": [build(join="$and")],
            "nobody": [build(nobody={"collection": {"$ne": ""}})],
            "collection": [build(skip="collection")],
            "current": [build(skip="current")],
            "as_of": [build(before="$lt"), build(before="$gte"), build(skip="as_of")],
            "together": [latest_condition],
            "leak": [build(together="$or"), build(access=False)],
        },
    )


def schema(
    labels: list[str], *, required: tuple[str, ...] = ("answer", "sources"), length: int | None = 80, **items: Any
) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "answer": {"type": "string"} | ({"maxLength": length} if length else {}),
            "sources": {"type": "array", "items": {"enum": labels}, "maxItems": len(labels)} | items,
        },
        "required": list(required),
    }


def test_answer_schema() -> None:
    prove(
        "answer_schema",
        wrong={
            "no_schema": [lambda _labels: {"type": "objekt"}],
            "refuses_good": [lambda labels: schema(labels, items={"enum": [int(label) for label in labels]})],
            "refuses_none": [lambda labels: schema(labels, minItems=1)],
            "invented_label": [lambda labels: schema(labels, items={"type": "string"})],
            "answer_no_text": [
                lambda labels: schema(labels) | {"properties": {"sources": schema(labels)["properties"]["sources"]}}
            ],
            "sources_no_list": [
                lambda labels: (
                    schema(labels)
                    | {
                        "properties": {
                            **schema(labels)["properties"],
                            "sources": {"enum": [*labels, [], labels, labels[:1]]},
                        }
                    }
                )
            ],
            "answer_missing": [lambda labels: schema(labels, required=())],
            "sources_missing": [lambda labels: schema(labels, required=("answer",))],
            "no_end": [lambda labels: schema(labels, length=None)],
            "no_end_of_list": [lambda labels: schema(labels, maxItems=100)],
        },
    )
