"""How ``workshop data`` shows what is in data/."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from workshop_utils.corpus.overview import DataSet

BARS = " ▁▂▃▄▅▆▇█"
BINS = 12


def render(sets: Sequence[DataSet], samples: int) -> Iterator[RenderableType]:
    """Counts and lengths of every set, its classes, and samples of its texts."""
    yield size_table(sets)
    for one in sets:
        for name, by_split in one.classes.items():
            yield class_table(f"{one.name} by {name}", by_split)
    for one in sets:
        texts = one.sample(samples)
        if texts:
            yield f"\n[bold]{one.name}[/bold]: {len(texts)} of {sum(map(len, one.texts.values()))}"
            yield from (escape(_short(text)) for text in texts)


def size_table(sets: Sequence[DataSet]) -> Table:
    """One row for each split of each set: how many, and how long in words."""
    table = Table("set", "split", "number", "least words", "median", "most", "lengths", box=box.SIMPLE)
    for column in (0, 1, 6):
        table.columns[column].no_wrap = True
    for column in range(2, 6):
        table.columns[column].justify = "right"
    for one in sets:
        for split, texts in one.texts.items():
            words = sorted(len(text.split()) for text in texts)
            shortest, median, longest = words[0], words[len(words) // 2], words[-1]
            row = (str(len(texts)), str(shortest), str(median), str(longest), histogram(words))
            table.add_row(one.name, split, *row)
        table.add_section()
    return table


def class_table(title: str, by_split: dict[str, Counter[str]]) -> Table:
    """How many of each class there are, and which share of the split that is."""
    table = Table(title, *by_split)
    for column in table.columns[1:]:
        column.justify = "right"
    for name in dict.fromkeys(key for part in by_split.values() for key in part):
        cells = [f"{part[name]} ({part[name] / part.total():.0%})" for part in by_split.values()]
        table.add_row(name, *cells)
    return table


def histogram(values: Sequence[int]) -> str:
    """The shape of a distribution in a dozen characters, from the smallest value to the largest."""
    low, span = min(values), max(1, max(values) - min(values))
    bins = Counter(min(BINS - 1, (value - low) * BINS // span) for value in values)
    most = max(bins.values())
    # whatever is there can be seen
    return "".join(BARS[-(-bins[place] * (len(BARS) - 1) // most)] for place in range(BINS))


def _short(text: str, most: int = 700) -> str:
    return text if len(text) <= most else f"{text[:most]} ..."
