"""How the ledger judges claims that no study judges; each rule is a function of figures, its threshold a constant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workshop_utils.evaluation.studies.figures import Figure
from workshop_utils.evaluation.studies.recipes import COST_MATTERS
from workshop_utils.evaluation.studies.tasks import part

HOLDS, NOT, OPEN, GAP = "holds", "does not hold here", "not decidable here", "gap"
ONLY = "holds only when"

# stages from a question to an answer
STAGES = 7
# a first answer that takes longer is no quick start: as long as lesson 05 calls a training long
READY_SECONDS = 600.0
# "more often than not": the bound of lesson 04 for citations
MOST = 0.5
# half a day of teaching, with its break, in minutes
HALF_DAY, BREAK = 210, 15
ALPHA = 0.05


def stays_as_it_is(stages: int, same: bool, passed: bool) -> str:
    """R0: holds where all seven stages are shown, and the weights are the same in a run whose outputs were compared.

    It does not hold where they are not the same; not decidable where a stage is missing or outputs differ.
    """
    if not same:
        return NOT
    return HOLDS if stages == STAGES and passed else OPEN


def starts_without_training(untouched: Figure, closed_book: Figure, seconds: float) -> str:
    """R+1: holds where the untouched model is right more often with passages, the intervals of both apart.

    And that within ``READY_SECONDS`` of having the documents; later, it holds only when one can wait. It does not hold
    where passages bring no right answer more.
    """
    if untouched["value"] <= closed_book["value"]:
        return NOT
    if untouched["low"] <= closed_book["high"]:
        return OPEN
    return (
        HOLDS if seconds <= READY_SECONDS else f"{ONLY} a first answer may take over {READY_SECONDS / 60:.0f} minutes"
    )


def is_cheap(training_to_index: float, rag_to_closed_book: float) -> str:
    """R+3: cheap to build is an index that takes ``COST_MATTERS`` times less time than a training.

    Cheap to use is an answer that takes less than ``COST_MATTERS`` times as long as closed book. It holds where both
    are so, it does not hold where neither is.
    """
    return by_meaning(
        {
            "building": HOLDS if training_to_index >= COST_MATTERS else NOT,
            "answering": HOLDS if rag_to_closed_book < COST_MATTERS else NOT,
        }
    )


def shows_sources(listed: Figure, cited: Figure) -> str:
    """R+4: the list holds the evidence, and the citation is right, each in more than ``MOST``, interval included.

    It holds where both are so, and only for one of them where the other is not.
    """
    return by_meaning({"the list of sources": more_than_most(listed), "the model's citations": more_than_most(cited)})


def more_than_most(figure: Figure) -> str:
    """A share that lies above ``MOST``, interval included; it does not hold where it lies below."""
    return _side(figure, MOST)


def loses_by_reading_more(eight_minus_three: Figure) -> str:
    """R-1, as lesson 04 fixes it: holds where eight passages give fewer right answers than three, interval below 0."""
    return _side({"low": -eight_minus_three["high"], "high": -eight_minus_three["low"]}, 0.0)


def follows_search(slope: Figure) -> str:
    """R-2, as lesson 04 fixes it: holds where right answers rise with what is found, interval above 0."""
    return _side(slope, 0.0)


def answers_later(median: float, slowest: float) -> str:
    """R-3: holds where an answer takes ``COST_MATTERS`` times as long as closed book, p50 and p95 both."""
    return by_meaning(
        {
            "the median": HOLDS if median >= COST_MATTERS else NOT,
            "the 95th percentile": HOLDS if slowest >= COST_MATTERS else NOT,
        }
    )


def is_best(tested: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> str:
    """C2: the primary difference decides, then those to the other rivals of the same arm.

    An arm is ahead where the difference is 0.05 or more with an interval above 0 and p below ``ALPHA`` (after Holm for
    the secondary ones). C2 holds where it is ahead of all; only when compared with some, where it is ahead of the
    primary rival but not of all others. Where it is not ahead of that one, C2 does not hold if the interval ends below
    0.05, and is not decidable else.
    """
    primary = next(row for row in tested if row["role"] == "primary")
    rivals = [row for row in tested if row["a"] == primary["a"]]
    if not _is_ahead(primary):
        return NOT if part(primary) == NOT else OPEN
    beaten = [titles[row["b"]] for row in rivals if _is_ahead(row)]
    return HOLDS if len(beaten) == len(rivals) else f"{ONLY} it is compared with {'; '.join(beaten)}"


def is_well_founded(reasons: Mapping[str, Mapping[str, str]]) -> str:
    """D1 to D4, of the verdicts on the claims that each reason rests on.

    A reason holds where all its claims do, and only when those do that hold only when something is so; it does not
    hold where one of them does not. The advice holds for the reasons that do.

    Args:
        reasons: by reason the verdicts by claim.
    """
    return by_meaning({name: _reason(verdicts) for name, verdicts in reasons.items()}, "the reason is")


def fits_in(minutes: int, extra: int, passed: bool, limit: int | None) -> str:
    """W1 to W3: holds where all lessons run and their minutes fit, with a break, into those that there are.

    It holds only without the extra exercises where they fit without them.

    Args:
        minutes: of people, estimated; ``extra`` of them for extra exercises.
        limit: minutes that there are; None where nobody waits.
    """
    if not passed:
        return NOT
    if limit is None or minutes + BREAK <= limit:
        return HOLDS
    return f"{ONLY} extra exercises are left out" if minutes - extra + BREAK <= limit else NOT


def by_meaning(parts: Mapping[str, str], lead: str = "it means") -> str:
    """One verdict of parts that a claim can mean: what all say; where they differ, those that hold are named."""
    if len(set(parts.values())) == 1:
        return next(iter(parts.values()))
    standing = {name: verdict for name, verdict in parts.items() if stands(verdict)}
    if not standing:
        return OPEN
    told = [name if verdict == HOLDS else f"{name} (only when {limits(verdict)})" for name, verdict in standing.items()]
    return f"{ONLY} {lead} {'; '.join(told)}"


def stands(verdict: str) -> bool:
    """Whether a verdict says that a claim holds, if only in part."""
    return verdict.startswith(HOLDS)


def limits(verdict: str) -> str:
    """What stands behind 'holds only when'."""
    return verdict.removeprefix(ONLY).strip()


def _reason(verdicts: Mapping[str, str]) -> str:
    found = list(verdicts.values())
    if NOT in found:
        return NOT
    if not all(map(stands, found)):
        return OPEN
    limited = [claim for claim, verdict in verdicts.items() if verdict != HOLDS]
    return f"{ONLY} {' and '.join(limited)} {'do' if len(limited) > 1 else 'does'}" if limited else HOLDS


def _side(figure: Mapping[str, float], bound: float) -> str:
    if figure["low"] > bound:
        return HOLDS
    return NOT if figure["high"] < bound else OPEN


def _is_ahead(row: Mapping[str, Any]) -> bool:
    return part(row) == HOLDS and row["p"] < ALPHA
