"""A document's Markdown as a list of blocks, for writers of other formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token


@dataclass(frozen=True)
class Run:
    """A piece of text in one style."""

    text: str
    style: Literal["plain", "strong", "em", "code"] = "plain"


Text = tuple[Run, ...]


@dataclass(frozen=True)
class Block:
    """A heading (``level`` 1 to 6), a paragraph, a list or a table.

    Attributes:
        rows: one row of one cell for a heading or paragraph; a row of one cell an item of a list; a table's rows with
            its header first.
    """

    kind: Literal["heading", "paragraph", "list", "numbered", "table"]
    rows: tuple[tuple[Text, ...], ...]
    level: int = 0

    @property
    def text(self) -> Text:
        """The text of a heading or a paragraph."""
        return self.rows[0][0]


def parse_blocks(markdown: str) -> list[Block]:
    """The blocks of a text, in order; items of a list are flat.

    Raises:
        ValueError: the text holds Markdown that no document of the corpus uses.
    """
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    blocks: list[Block] = []
    lists: list[Literal["list", "numbered"]] = []
    items: list[tuple[Text, ...]] = []
    rows: list[tuple[Text, ...]] = []
    cells: list[Text] = []
    inside: Literal["heading", "paragraph", "table"] = "paragraph"
    level = 0
    for token in tokens:
        match token.type:
            case "heading_open":
                inside, level = "heading", int(token.tag[1])
            case "table_open":
                inside, rows = "table", []
            case "tr_open":
                cells = []
            case "tr_close":
                rows.append(tuple(cells))
            case "table_close":
                blocks.append(Block("table", tuple(rows)))
                inside = "paragraph"
            case "bullet_list_open" | "ordered_list_open":
                if not lists:
                    items = []
                lists.append("list" if token.type.startswith("bullet") else "numbered")
            case "bullet_list_close" | "ordered_list_close":
                kind = lists.pop()
                if not lists:
                    blocks.append(Block(kind, tuple(items)))
            case "inline":
                text = _runs(token.children or [])
                if inside == "table":
                    cells.append(text)
                elif lists:
                    items.append((text,))
                else:
                    blocks.append(Block(inside, ((text,),), level if inside == "heading" else 0))
                    inside = "paragraph"
            case "blockquote_open" | "fence" | "html_block" | "code_block" | "hr":
                raise ValueError(f"documents hold no {token.type} (line {token.map[0] + 1 if token.map else '?'})")
    return blocks


def plain(text: Text) -> str:
    """The words alone."""
    return "".join(run.text for run in text)


def _runs(children: Sequence[Token]) -> Text:
    runs: list[Run] = []
    style: Literal["plain", "strong", "em"] = "plain"
    for child in children:
        match child.type:
            case "text":
                runs.append(Run(child.content, style))
            case "softbreak" | "hardbreak":
                runs.append(Run(" "))
            case "code_inline":
                runs.append(Run(child.content, "code"))
            case "strong_open":
                style = "strong"
            case "em_open":
                style = "em"
            case "strong_close" | "em_close":
                style = "plain"
            case other:
                raise ValueError(f"documents hold no {other}: {child.content!r}")
    return tuple(run for run in runs if run.text)
