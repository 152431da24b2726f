"""What the results say of the claims on fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from workshop_utils.evaluation.ledger import rules
from workshop_utils.evaluation.ledger.found import Found, judged, with_interval
from workshop_utils.evaluation.ledger.results import Results
from workshop_utils.evaluation.ledger.rules import HOLDS
from workshop_utils.evaluation.studies.curve import HUNDREDS, NOISY
from workshop_utils.evaluation.studies.figures import interval
from workshop_utils.evaluation.studies.recipes import REFERENCE, SEVEN_B_TICKETS
from workshop_utils.evaluation.studies.tasks import FASTER, MARGIN, NAMES

# what follows where a study says no more than 'holds only when'; its lesson does
WHEN = {
    "FM1": "time alone, or memory alone, is counted",
    "F+1": "facts are taught as questions, not read as text",
    "F+4": "fewer right answers can be borne",
    "F-1": "the model has billions of weights (by formula)",
    "F-3": "nobody trains the changed facts alone",
    "overfitting": "the loss is what counts, not the fields",
    "forgetting": "another recipe than the reference is used",
}


def _task_claim(results: Results, claim: str) -> Found:
    """A claim of lesson 06: its first part that holds, where one does, else its first."""
    parts = results.get(f"results/tasks.json:parts.{claim}")
    chosen = next((row for row in parts if row["verdict"] == HOLDS), parts[0])
    return with_interval(
        results,
        results.verdict(f"results/tasks.json:verdicts.{claim}"),
        _part_words(chosen),
        _part_source(chosen),
        margin=f"{MARGIN}, and an interval above 0",
        because="; ".join(
            f"{_part_words(row)} {interval(results.figure(_part_source(row)))}: {row['verdict']}" for row in parts
        ),
    )


def _part_words(row: Mapping[str, str]) -> str:
    other = NAMES.get(row["against"], "the better prompting")
    return f"{row['task']}, {row['score'].replace('_', ' ')}: adapter minus {other}"


def _part_source(row: Mapping[str, str]) -> str:
    return f"results/tasks.json:tasks.{row['task']}.differences.adapter-{row['against']}.{row['score']}"


def _throughput(results: Results) -> Found:
    rival = results.get("results/tasks.json:tasks.triage.rival")
    speeds = [results.number(f"results/tasks.json:throughput.{arm}.tickets_per_second") for arm in ("adapter", rival)]
    right = results.figure("results/tasks.json:tasks.triage.differences.adapter-rival.all_fields")
    return Found(
        results.verdict("results/tasks.json:verdicts.FU4"),
        "times as many tickets a second as the better prompting",
        "results/tasks.json:throughput.adapter.tickets_per_second",
        speeds[0] / speeds[1],
        n=results.get("results/tasks.json:throughput.n"),
        margin=f"{FASTER:g} times as many, and {MARGIN} more of them wholly right",
        because=f"wholly right, adapter minus the better prompting {interval(right)}",
    )


def _recipe(results: Results, claim: str, measure: str, path: str) -> Found:
    """A claim of the study of recipes."""
    file = "results/recipes.json"
    return judged(results, measure, f"{file}:{path}", f"{file}:verdicts.{claim}", WHEN.get(claim, ""))


def _fact(results: Results, claim: str, measure: str, path: str) -> Found:
    """A claim of the study of facts."""
    file = "results/facts.json"
    return judged(results, measure, f"{file}:{path}", f"{file}:verdicts.{claim}", WHEN[claim])


def _examples(results: Results) -> Found:
    noise = results.figure(f"results/curve.json:noise.{NOISY[-1]}")
    thousands, quality = (results.verdict(f"results/curve.json:verdicts.{part}") for part in ("thousands", "quality"))
    return with_interval(
        results,
        results.verdict("results/curve.json:verdicts.F-2"),
        f"tickets wholly right, all examples minus {HUNDREDS}",
        f"results/curve.json:more.{HUNDREDS}",
        margin=f"{MARGIN}, and an interval above 0",
        because=f"thousands: {thousands}; quality, lost to a fifth of wrong records {interval(noise)}: {quality}",
    )


def _overfitting_and_forgetting(results: Results) -> Found:
    parts = {
        "overfitting": ("overfitting", "verdict.overfitting"),
        "forgetting": ("recipes", "verdicts.F-4"),
    }
    verdicts = {
        name: results.verdict(f"results/{file}.json:{path}.verdict", WHEN[name]) for name, (file, path) in parts.items()
    }
    smallest, because = (
        "; ".join(f"{name}: {results.get(f'results/{file}.json:{path}.{key}')}" for name, (file, path) in parts.items())
        for key in ("smallest", "because")
    )
    return with_interval(
        results,
        rules.by_meaning(verdicts),
        "perplexity of ordinary prose, after the reference training / before",
        f"results/recipes.json:runs.{REFERENCE}.perplexity_ratio",
        margin=smallest,
        because=because,
    )


FINDERS: dict[str, Callable[[Results], Found]] = {
    "FM1": partial(
        _recipe,
        claim="FM1",
        measure="times the seconds of LoRA that training all weights takes",
        path="full_beside_lora.seconds_ratio",
    ),
    "FM2": partial(
        _recipe,
        claim="FM2",
        measure="fields right, best of all weights minus best of LoRA",
        path="full_beside_lora.fields_difference",
    ),
    "F+1": partial(
        _fact,
        claim="F+1",
        measure="taught facts right in another wording, minus the untouched model",
        path="differences.both_minus_base_paraphrase",
    ),
    "F+4": partial(
        _fact, claim="F+4", measure="tokens of a prompt, closed book after tuning", path="arms.both.prompt_tokens"
    ),
    "F-1": partial(
        _recipe,
        claim="F-1",
        measure=f"seconds of a training on {SEVEN_B_TICKETS:,} tickets",
        path="cost.lora.here_tickets_seconds",
    ),
    "F-2": _examples,
    "F-3": partial(
        _fact, claim="F-3", measure="changed facts answered as they were", path="changed.stages.untouched.stale"
    ),
    "F-4": _overfitting_and_forgetting,
    "FU4": _throughput,
    **{claim: partial(_task_claim, claim=claim) for claim in ("F0", "F+2", "F+3", "FU1", "FU2", "FU3")},
}
