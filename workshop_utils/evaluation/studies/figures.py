"""How studies write down their model, and a figure: its value, a 95% interval and n, and how often if it is a count."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel

from workshop_utils.evaluation.intervals import bootstrap

Figure = dict[str, float]


def share(values: Iterable[float], families: Sequence[Hashable] | None = None) -> Figure:
    """A mean with its interval; whole families are drawn where they are given."""
    return bootstrap(list(values), families).as_dict()


def count(values: Iterable[bool], families: Sequence[Hashable] | None = None) -> Figure:
    """The same of what happened or did not, with how often it did; 0 of n has the upper bound 3/n."""
    happened = [bool(value) for value in values]
    if not happened:
        return {"value": 0.0, "low": 0.0, "high": 1.0, "n": 0, "count": 0}
    return {**share(happened, families), "count": sum(happened)}


def words(figure: dict[str, Any]) -> str:
    """A figure for the terminal."""
    if "count" in figure:
        return f"{figure['count']:.0f} of {figure['n']:.0f}: {interval(figure)}"
    return f"{interval(figure)} n={figure['n']:.0f}"


def interval(figure: dict[str, Any]) -> str:
    """A figure for a table in which n stands elsewhere."""
    return f"{figure['value']:.2f} [{figure['low']:.2f}, {figure['high']:.2f}]"


def model_name(llm: BaseChatModel) -> str:
    """What answered: the workshop's model, with which adapter."""
    adapter = getattr(llm, "adapter", None)
    return "SmolLM2-135M-Instruct" + (f" with the {adapter.name} adapter" if adapter else ", untouched")
