# ruff: noqa
# fmt: off
# mypy: disable-error-code="no-any-return"
"""Reference answers: generated from lessons/02_rag_with_langchain.py by `workshop build`; do not edit."""


def table_pieces(table: str, rows: int) -> list[str]:
    """Pieces of a Markdown table, each with its header and at most `rows` rows.

    table: lines joined by newlines, the first two being header and rule; rows: at least 1.
    """
    header, rule, *body = table.split("\n")
    return ["\n".join([header, rule, *body[start : start + rows]]) for start in range(0, len(body), rows)]


def where(
    groups: list[str], collection: str | None = None, as_of: int | None = None, current: bool = False
) -> dict[str, object]:
    """Chroma's filter: readable by one of the groups, and what else is asked for.

    as_of: a day such as 20250317; current: only valid versions.
    """
    # '(nobody)' is on no access list
    readable: list[dict[str, object]] = [{"acl": {"$contains": group}} for group in groups or ["(nobody)"]]
    conditions: list[dict[str, object]] = readable if len(readable) == 1 else [{"$or": readable}]
    if collection is not None:
        conditions.append({"collection": collection})
    if as_of is not None:
        conditions.append({"day": {"$lte": as_of}})
    if current:
        conditions.append({"status": "current"})
    return conditions[0] if len(conditions) == 1 else {"$and": conditions}


def answer_schema(labels: list[str]) -> dict[str, object]:
    """JSON Schema of an answer that cites some of the passages with these labels, or none."""
    sources = {"type": "array", "items": {"enum": labels}, "maxItems": len(labels)}
    return {
        "type": "object",
        "properties": {"answer": {"type": "string", "maxLength": 80}, "sources": sources},
        "required": ["answer", "sources"],
        "additionalProperties": False,
    }
