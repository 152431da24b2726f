"""What the results say of the comparison table, of combining, of the advice, and of the ways to teach all this."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from workshop_utils.evaluation.compare import verdicts_table
from workshop_utils.evaluation.deciding import RULES
from workshop_utils.evaluation.ledger import rules
from workshop_utils.evaluation.ledger.found import Found, with_interval
from workshop_utils.evaluation.ledger.results import SAME, Missing, Results, remedy
from workshop_utils.evaluation.ledger.rules import GAP, ONLY
from workshop_utils.evaluation.studies.combining import NAMES
from workshop_utils.evaluation.studies.figures import interval
from workshop_utils.evaluation.studies.tasks import MARGIN

TRACKS: dict[str, tuple[tuple[str, ...], int | None]] = {
    "W1": (("00", "01", "02", "03", "04", "10"), rules.HALF_DAY),
    "W2": (("05", "06", "07"), rules.HALF_DAY),
    "W3": (tuple(f"{number:02}" for number in range(11)), None),
}
HUMAN_MINUTES = re.compile(r"^#\s+minutes: (\d+)$", re.MULTILINE)
EXTRA_MINUTES = re.compile(r"^# ### Exercise .*\(extra\)\n# difficulty .* about (\d+) minutes?$", re.MULTILINE)


def _table_row(results: Results, claim: str) -> Found:
    name, compared = results.comparison()
    row = next(row for row in verdicts_table.rows(compared, results.folder) if row["id"] == claim)
    states = {part["says"]: SAME[part["state"]] for part in row["parts"]}
    agreeing = sum(rules.stands(state) for state in states.values())
    return Found(
        rules.by_meaning(states),
        f"statements of the usual verdict that agree, of {len(states)}",
        f"results/{name}:arms",
        agreeing,
        n=len(states),
        because=_on(compared) + row["because"],
    )


def _combined(results: Results, claim: str, chosen: str) -> Found:
    """C1 and C3, with the part that is shown as the figure."""
    parts = results.get(f"results/combining.json:parts.{claim}")
    shown = parts[chosen]
    return with_interval(
        results,
        results.verdict(f"results/combining.json:verdicts.{claim}"),
        f"{shown['score']}: {NAMES[shown['arm']]} minus {NAMES[shown['against']]}",
        f"results/combining.json:parts.{claim}.{chosen}.figure",
        margin=f"{MARGIN}, and an interval above 0",
        because="; ".join(f"{name} {interval(row['figure'])}: {row['verdict']}" for name, row in parts.items()),
    )


def _best(results: Results) -> Found:
    name, compared = results.comparison()
    arms, tested = compared["arms"], compared["differences"]
    titles = {key: arm["title"] for key, arm in arms.items()}
    place = next((place for place, row in enumerate(tested) if row["role"] == "primary"), None)
    if place is None:
        raise Missing(f"data/results/{name} has no primary difference. {remedy(name)}")
    primary = tested[place]
    told = [f"{titles[row['a']]} minus {titles[row['b']]} {interval(row)}, p {row['p']:.3f}" for row in tested]
    best = max(arms, key=lambda key: arms[key]["correct"]["value"])
    return Found(
        rules.is_best(tested, titles),
        f"right answers, {titles[primary['a']]} minus {titles[primary['b']]}",
        f"results/{name}:differences.{place}",
        primary["value"],
        primary["low"],
        primary["high"],
        arms[primary["a"]]["correct"]["n"],
        margin=f"{MARGIN}, an interval above 0, and p below {rules.ALPHA}",
        because=f"{_on(compared)}{'; '.join(told)}; most right answers: {titles[best]}",
    )


def advice(claim: str, verdicts: Mapping[str, str]) -> Found:
    """D1 to D4, from the ledger's verdicts on the claims that their rules name.

    Raises:
        Missing: one of those is a gap.
    """
    own = {rule.id.partition(".")[2].replace("_", " "): rule for rule in RULES if rule.id.startswith(f"{claim}.")}
    evidence = list(dict.fromkeys(one for rule in own.values() for one in rule.evidence))
    if gaps := [one for one in evidence if verdicts[one] == GAP]:
        raise Missing(f"It rests on {', '.join(gaps)}, still to be measured.")
    reasons = {name: {one: verdicts[one] for one in rule.evidence} for name, rule in own.items()}
    told = [
        f"{name}: {', '.join(f'{one} {ONLY if says.startswith(ONLY) else says}' for one, says in reason.items())}"
        for name, reason in reasons.items()
    ]
    return Found(
        rules.is_well_founded(reasons),
        f"claims that hold, if only in part, of the {len(evidence)} that the advice rests on",
        f"ledger: {', '.join(evidence)}",
        sum(rules.stands(verdicts[one]) for one in evidence),
        n=len(evidence),
        because="; ".join(told),
    )


def _format(results: Results, claim: str) -> Found:
    track, limit = TRACKS[claim]
    texts = {number: results.lesson(number)[1] for number in track}
    runs = [results.run_of(number) for number in track]
    minutes = sum(int(found) for text in texts.values() for found in HUMAN_MINUTES.findall(text)[:1])
    extra = sum(int(found) for text in texts.values() for found in EXTRA_MINUTES.findall(text))
    return Found(
        rules.fits_in(minutes, extra, all(passed for passed, _ in runs), limit),
        f"minutes of people, estimated, for {len(track)} lessons",
        "results/lessons.json:lessons",
        minutes,
        margin=f"{limit} minutes with a break of {rules.BREAK}" if limit else "",
        because=f"{extra} of them for extra exercises; the machine takes {sum(s for _, s in runs) / 60:.0f} (measured)",
    )


def _on(compared: Mapping[str, Any]) -> str:
    return "" if compared["split"] == "test" else f"on {compared['n']} {compared['split']} questions, not the test's: "


FINDERS: dict[str, Callable[[Results], Found]] = {
    **{claim: partial(_table_row, claim=claim) for claim in verdicts_table.ROWS},
    "C1": partial(_combined, claim="C1", chosen="facts"),
    "C2": _best,
    "C3": partial(_combined, claim="C3", chosen="latest"),
    **{claim: partial(_format, claim=claim) for claim in TRACKS},
}
