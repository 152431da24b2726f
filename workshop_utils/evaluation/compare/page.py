"""Pieces of a page that is one file: nothing is fetched, nothing is run, and no text can become markup."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import Any

from workshop_utils.evaluation.studies.figures import Figure

# of one text of somebody's documents or of an answer; longer ones say how much is left out
LONGEST = 1_500
# stands where there is no figure
NONE = "\N{EN DASH}"
# what a page may not hold, or what would end up as something else in it
UNSHOWN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff\ud800-\udfff]")

STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5b6573; --line: #d5dae1; --back: #ffffff; --card: #f5f7f9;
  --mark: #0b62a8; --plain: #667386; --good: #11683a; --bad: #a32020; --gold: #fff3c4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #a3adba; --line: #3a434f; --back: #14181e;
  --card: #1d232b; --mark: #6bb6f5; --plain: #97a3b3; --good: #6fd49b; --bad: #ff9c92; --gold: #4a3f14; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 76rem; color: var(--ink); background: var(--back);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; border-top: 2px solid var(--line); padding-top: 1rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p { max-width: 46rem; margin: .5rem 0; }
nav a { display: inline-block; margin-right: 1rem; padding: .2rem 0; }
a { color: var(--mark); }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .1rem 1rem; margin: .5rem 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
.main { font-size: 1.15rem; border-left: 4px solid var(--mark); background: var(--card); padding: .75rem 1rem;
  max-width: 50rem; }
.warning { border-left: 4px solid var(--bad); background: var(--card); padding: .5rem 1rem; max-width: 50rem; }
.soft, caption { color: var(--soft); font-size: .9rem; }
.scroll { overflow-x: auto; margin: .5rem 0; }
.scroll:focus-visible, summary:focus-visible { outline: 2px solid var(--mark); }
table { border-collapse: collapse; font-size: .9rem; }
caption { text-align: left; padding-bottom: .35rem; }
caption span { display: block; position: sticky; left: 0; max-width: min(46rem, calc(100vw - 2rem)); }
th, td { padding: .35rem .6rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { border-bottom: 2px solid var(--line); vertical-align: bottom; }
tbody th { position: sticky; left: 0; background: var(--back); font-weight: 600; }
td.number { white-space: nowrap; font-variant-numeric: tabular-nums; }
td.text { min-width: 11rem; }
td.wide { min-width: 20rem; }
td.number small { display: block; color: var(--soft); }
tr.strong th, tr.strong td { background: var(--card); }
tr.gap th, tr.gap td { color: var(--bad); }
.verdict { font-weight: 600; }
.verdict.agrees { color: var(--good); }
.verdict.disagrees { color: var(--bad); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1rem; }
figure { margin: 0; max-width: 32rem; }
figcaption { font-weight: 600; font-size: .95rem; }
svg { width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
svg text.strong { font-weight: 700; }
svg text.tick { fill: var(--soft); font-size: 11px; }
svg .axis { stroke: var(--line); stroke-width: 1; }
svg .zero { stroke: var(--ink); }
svg .interval { stroke: var(--plain); stroke-width: 2.5; stroke-linecap: round; }
svg .dot { fill: var(--plain); }
svg .interval.strong { stroke: var(--mark); }
svg .dot.strong { fill: var(--mark); }
details { margin: .5rem 0; border: 1px solid var(--line); border-radius: .4rem; padding: .25rem .75rem; }
summary { cursor: pointer; font-weight: 600; padding: .35rem 0; }
article { border-top: 1px solid var(--line); padding: .5rem 0; }
blockquote { margin: .35rem 0; padding: .35rem .75rem; background: var(--card); white-space: pre-wrap; }
blockquote.gold { background: var(--gold); }
.said { white-space: pre-wrap; }
@media print { body { max-width: none; } .scroll { overflow: visible; } }
"""


def said(text: object) -> str:
    """A text that others wrote, as text: escaped, its direction kept to itself, cut where it is very long."""
    whole = str(text)
    rest = len(whole) - LONGEST
    more = f' <span class="soft">… {rest:,} characters more</span>' if rest > 0 else ""
    return f'<span class="said" dir="auto">{plain(whole[:LONGEST])}</span>{more}'


def plain(text: object) -> str:
    """Escaped, without what a page cannot hold."""
    return html.escape(UNSHOWN.sub("\N{REPLACEMENT CHARACTER}", str(text)))


def figure_cell(figure: Figure | None, digits: int = 2) -> str:
    """A table cell with a value above its interval; a dash where there is none."""
    if figure is None:
        return f'<td class="number">{NONE}</td>'
    value, low, high = (f"{figure[name]:.{digits}f}" for name in ("value", "low", "high"))
    return f'<td class="number">{value} <small>{low} to {high}</small></td>'


def number_cell(number: float | None, digits: int = 2, unit: str = "") -> str:
    """A table cell with a number without interval; a dash where there is none."""
    shown = NONE if number is None else f"{number:,.{digits}f}{unit}"
    return f'<td class="number">{shown}</td>'


def text_cell(markup: str, name: str = "text") -> str:
    """A table cell with markup that was made here."""
    return f'<td class="{name}">{markup}</td>'


def table(caption: str, head: Sequence[str], rows: Iterable[tuple[str, Sequence[str], str]]) -> str:
    """A table that scrolls by itself where the screen is narrow.

    Args:
        caption, head: as text.
        rows: of each its name as text, its cells as markup, and a class for its look, or "".
    """
    columns = "".join(f'<th scope="col">{plain(name)}</th>' for name in head)
    body = "".join(
        f'<tr{_named(look)}><th scope="row">{plain(name)}</th>{"".join(cells)}</tr>' for name, cells, look in rows
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{plain(caption)}"><table>'
        f"<caption><span>{plain(caption)}</span></caption><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def definitions(pairs: Iterable[tuple[str, Any]]) -> str:
    """Names with what they stand for, as text."""
    return f"<dl>{''.join(f'<dt>{plain(name)}</dt><dd>{plain(value)}</dd>' for name, value in pairs)}</dl>"


def page(title: str, body: str) -> str:
    """The whole file; a browser may load nothing for it and run nothing in it."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{plain(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _named(look: str) -> str:
    return f' class="{look}"' if look else ""
