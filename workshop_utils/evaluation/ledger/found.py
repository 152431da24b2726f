"""What the results say of a claim, and how a figure with its interval becomes that."""

from __future__ import annotations

from dataclasses import dataclass

from workshop_utils.evaluation.ledger.results import Results


@dataclass(frozen=True)
class Found:
    """A verdict with the figure that decides.

    Attributes:
        measure: what ``figure`` is, in words.
        source: where it stands, as lessons write it: ``results/FILE.json:path.to.value``.
        low, high: its 95% interval, and ``n`` cases; None of a count, a time or a ratio of times.
        margin: the smallest difference that matters.
        because: what else decides.
    """

    verdict: str
    measure: str
    source: str
    figure: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    margin: str = ""
    because: str = ""


def with_interval(
    results: Results, verdict: str, measure: str, source: str, *, margin: str = "", because: str = ""
) -> Found:
    """The figure that stands at ``source``, with its interval."""
    figure = results.figure(source)
    return Found(
        verdict, measure, source, figure["value"], figure["low"], figure["high"], int(figure["n"]), margin, because
    )


def judged(results: Results, measure: str, source: str, verdict: str, when: str) -> Found:
    """What a study has judged with the smallest difference and the reason; its figure may have no interval.

    Args:
        source: of the figure; ``verdict`` that of the study's verdict.
        when: what follows where that says no more than 'holds only when'.
    """
    says = results.verdict(f"{verdict}.verdict", when)
    margin, because = (str(results.get(f"{verdict}.{key}")) for key in ("smallest", "because"))
    if isinstance(results.get(source), dict):
        return with_interval(results, says, measure, source, margin=margin, because=because)
    return Found(says, measure, source, results.number(source), margin=margin, because=because)
