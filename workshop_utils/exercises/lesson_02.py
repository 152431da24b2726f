"""Checks of lesson 02."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from workshop_utils.exercises.judging import Exercise, Wrong, expect_type

HEAD = ["| Code | Meaning |", "|---|---|"]
ROWS = ["| T-41 | syringe not recognised |", "| T-42 | plunger moved |", "| T-43 | battery low |"]

PASSAGES: dict[str, dict[str, Any]] = {
    "policy 2023": {"collection": "hr-policies", "day": 20230213, "status": "superseded", "acl": ["everyone"]},
    "policy 2025": {"collection": "hr-policies", "day": 20250301, "status": "current", "acl": ["everyone"]},
    "hr case": {"collection": "hr-policies", "day": 20240610, "status": "current", "acl": ["hr"]},
    "manual": {"collection": "product-manuals", "day": 20241105, "status": "current", "acl": ["everyone"]},
    "prototype": {"collection": "product-manuals", "day": 20250620, "status": "current", "acl": ["heron-team", "qra"]},
}


def check_table_pieces(attempt: Callable[..., Any]) -> None:
    table = "\n".join([*HEAD, *ROWS])
    for rows in (1, 2, 3, 5):
        wanted = ["\n".join(HEAD + ROWS[start : start + rows]) for start in range(0, len(ROWS), rows)]
        found = attempt(table, rows)
        expect_type(found, list)
        pieces = [piece.strip("\n").split("\n") if isinstance(piece, str) else piece for piece in found]
        if ["\n".join(piece) for piece in pieces] == wanted:
            continue
        if any(piece[:1] != HEAD[:1] for piece in pieces):
            raise Wrong("no_header", piece="\n".join(next(p for p in pieces if p[:1] != HEAD[:1])))
        if any(piece[1:2] != HEAD[1:] for piece in pieces):
            raise Wrong("no_rule", piece="\n".join(pieces[-1]))
        if any(piece.count(HEAD[0]) > 1 for piece in pieces):
            raise Wrong("header_twice", piece="\n".join(pieces[0]))
        shown = [line for piece in pieces for line in piece[2:]]
        lost = [row for row in ROWS if row not in shown]
        if lost:
            raise Wrong("lost_row", row=lost[0], rows=rows)
        raise Wrong("sizes", rows=rows, expected=_counts(wanted), found=[len(piece) - 2 for piece in pieces])


def _counts(pieces: list[str]) -> list[int]:
    return [piece.count("\n") - 1 for piece in pieces]


def check_where(attempt: Callable[..., Any]) -> None:
    cases: list[tuple[dict[str, Any], list[str], str]] = [
        ({"groups": ["everyone"]}, ["policy 2023", "policy 2025", "manual"], "readable"),
        ({"groups": ["everyone", "hr"]}, ["policy 2023", "policy 2025", "hr case", "manual"], "any_group"),
        ({"groups": []}, [], "nobody"),
        ({"groups": ["everyone"], "collection": "hr-policies"}, ["policy 2023", "policy 2025"], "collection"),
        ({"groups": ["everyone"], "current": True}, ["policy 2025", "manual"], "current"),
        ({"groups": ["everyone"], "as_of": 20241105}, ["policy 2023", "manual"], "as_of"),
        (
            {"groups": ["everyone", "hr"], "collection": "hr-policies", "as_of": 20241231, "current": True},
            ["hr case"],
            "together",
        ),
    ]
    for arguments, wanted, mistake in cases:
        found = attempt(**arguments)
        expect_type(found, dict)
        try:
            names = _found(found)
        except Exception as error:
            if len(found) > 1 and not any(key.startswith("$") for key in found):
                raise Wrong("several_keys", filter=found) from None
            raise Wrong("refused", filter=found, reason=str(error).removesuffix(" in query.")) from None
        if set(names) == set(wanted):
            continue
        asked = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        leaked = sorted(set(names) - set(wanted))
        told = {"call": f"where({asked})", "found": names or "nothing", "wanted": wanted or "nothing"}
        unreadable = [name for name in leaked if not set(arguments["groups"]) & set(PASSAGES[name]["acl"])]
        if unreadable and mistake != "nobody":
            raise Wrong("leak", leaked=unreadable, **told)
        raise Wrong(mistake, **told)


def _found(filter: dict[str, Any]) -> list[str]:
    """What Chroma itself finds among the passages with this filter."""
    return sorted(_collection().get(where=filter)["ids"], key=list(PASSAGES).index)


@cache
def _collection() -> Any:
    # not in memory: all such clients of a process must have the same settings, and the learner may have made one
    from chromadb import PersistentClient
    from chromadb.config import Settings

    client = PersistentClient(tempfile.mkdtemp(), Settings(anonymized_telemetry=False))
    collection = client.get_or_create_collection("exercise-where", embedding_function=None)
    vectors = np.ones((len(PASSAGES), 2), dtype=np.float32)
    collection.upsert(ids=list(PASSAGES), embeddings=vectors, metadatas=list(PASSAGES.values()))
    return collection


def check_answer_schema(attempt: Callable[..., Any]) -> None:
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
    from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]

    for labels in (["1", "2"], ["7"]):
        schema = attempt(labels)
        expect_type(schema, dict)
        try:
            Draft202012Validator.check_schema(schema)
        except SchemaError as error:
            raise Wrong("no_schema", reason=error.message) from None
        admits = Draft202012Validator(schema).is_valid
        first = labels[0]
        cases: list[tuple[object, bool, str]] = [
            ({"answer": "17 minutes", "sources": labels}, True, "refuses_good"),
            ({"answer": "17 minutes", "sources": [first]}, True, "refuses_good"),
            ({"answer": "not in the documents", "sources": []}, True, "refuses_none"),
            ({"answer": "17 minutes", "sources": ["3"]}, False, "invented_label"),
            ({"answer": 17, "sources": [first]}, False, "answer_no_text"),
            ({"answer": "17 minutes", "sources": first}, False, "sources_no_list"),
            ({"sources": [first]}, False, "answer_missing"),
            ({"answer": "17 minutes"}, False, "sources_missing"),
            ({"answer": "x" * 2000, "sources": [first]}, False, "no_end"),
            ({"answer": "17 minutes", "sources": [first] * 50}, False, "no_end_of_list"),
        ]
        for value, right, mistake in cases:
            if admits(value) != right:
                raise Wrong(mistake, value=value if mistake not in ("no_end", "no_end_of_list") else "", labels=labels)


EXERCISES = (
    Exercise("table_pieces", check_table_pieces),
    Exercise("where", check_where),
    Exercise("answer_schema", check_answer_schema),
)
