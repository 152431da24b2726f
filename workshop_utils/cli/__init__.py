"""The ``workshop`` command. Each command imports what it needs when it runs, so that ``--help`` is instant."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer
from rich.console import Console

from workshop_utils.errors import WorkshopError

if TYPE_CHECKING:
    from workshop_utils.authoring.run import LessonRun

ROOT = Path(__file__).resolve().parents[2]

app = typer.Typer(
    name="workshop",
    help="RAG, fine-tuning, or both? The workshop's commands. Exit code 0: all is well; 1: something failed; "
    "2: the command was not understood.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
bench = typer.Typer(help="Measure: this machine, and what the lessons show.", no_args_is_help=True)
app.add_typer(bench, name="bench")
train = typer.Typer(help="Train the adapters that come with the workshop.", no_args_is_help=True)
app.add_typer(train, name="train")
console = Console(highlight=False)

Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the result as JSON.")]
Lessons = Annotated[list[str] | None, typer.Argument(metavar="[LESSON...]", help="For example 01, or its full name.")]


def main() -> None:
    """Run the command line; errors that we foresaw are told in a sentence, not in a traceback."""
    try:
        app()
    except WorkshopError as error:
        console.print(f"{type(error).__name__}: {error}", style="red", markup=False, soft_wrap=True)
        raise SystemExit(1) from error
    except KeyboardInterrupt:
        console.print("\nStopped.")
        raise SystemExit(130) from None


@app.command()
def fetch() -> None:
    """Fetch, verify and convert the models; what is already good is left alone."""
    from workshop_utils.models import store

    store.ensure_all(console.print)
    console.print(f"The models are in {store.cache_dir() / 'models'}.", soft_wrap=True)


@app.command()
def lab(
    port: Annotated[int, typer.Option(help="Where the page is served; the next free port if it is taken.")] = 8888,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Open the workshop in JupyterLab."""
    from workshop_utils.cli.lab import command, settle
    from workshop_utils.models import store

    store.ensure_all(console.print)
    settle()
    console.print("JupyterLab starts. To stop it, press Ctrl-C here.")
    raise SystemExit(_become(command(ROOT, port, browser)))


@app.command()
def doctor(
    port: Annotated[int, typer.Option(help="The port that JupyterLab would use.")] = 8888, file: Json = None
) -> None:
    """Check everything that can be wrong on this machine, and say how to fix it."""
    from workshop_utils.cli.doctor import diagnose, render

    report = diagnose(port)
    print(render(report))
    _write_json(file, report.as_dict())
    raise typer.Exit(0 if report.ok else 1)


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="In quotes, for example: 'How many training days do I get?'")],
    k: Annotated[int, typer.Option(min=1, max=20, help="How many passages to retrieve.")] = 3,
    search: Annotated[
        Literal["dense", "hybrid"], typer.Option(help="By meaning, or by meaning and by words (lesson 04).")
    ] = "hybrid",
    llm: Annotated[str | None, typer.Option(help="A model folder or name, or an endpoint's URL.")] = None,
    file: Json = None,
) -> None:
    """Answer a question about Clairval by RAG, with the sources that were retrieved and the time of each stage."""
    from dataclasses import asdict

    from langchain_core.exceptions import ModelError
    from rich.markup import escape

    from workshop_utils.models import load_llm
    from workshop_utils.models.endpoint import endpoint_error
    from workshop_utils.rag import RagAnswer, load_rag

    if not question.strip():
        console.print("[red]The question is empty.[/red] Put it in quotes: workshop ask 'How many ...?'")
        raise typer.Exit(2)
    rag = load_rag(load_llm(llm), k=k, search=search, progress=True)
    try:
        for piece in rag.stream(question):
            if isinstance(piece, RagAnswer):
                answer = piece
            else:
                console.print(escape(piece), end="", soft_wrap=True)
    except ModelError as error:
        raise WorkshopError(endpoint_error(error, llm or os.environ.get("WORKSHOP_LLM", ""))) from error
    console.print("\n\n[bold]Retrieved sources[/bold], best first")
    for source in answer.sources:
        section = source.text.split("\n", 1)[0]
        given = "  (given to the model)" if source.read else ""
        score = f"  cosine {source.score:.2f}" if search == "dense" else ""
        line = f"  [{source.label}] {source.document}  {section}{score}{given}"
        console.print(line, markup=False, soft_wrap=True)
    stages = ", ".join(f"{stage} {seconds * 1000:.0f} ms" for stage, seconds in answer.seconds.items())
    console.print(f"\n[dim]{stages}; {answer.prompt_tokens} prompt tokens[/dim]", soft_wrap=True)
    _write_json(file, asdict(answer))


@app.command()
def run(
    lessons: Lessons = None,
    offline: Annotated[bool, typer.Option(help="Run them with the network cut.")] = False,
    slow_path: Annotated[bool, typer.Option(help="Compute as a laptop without AVX-512 and bfloat16 does.")] = False,
    file: Json = None,
) -> None:
    """Run the solution notebooks in fresh kernels, compare their outputs, measure seconds and memory."""
    from workshop_utils.cli.testing import SLOW_PATH, run_lessons

    os.environ.update(SLOW_PATH if slow_path else {})
    runs = run_lessons(_lesson_paths("solutions", lessons), console, cut_network=offline)
    _write_lessons(file, runs)
    raise typer.Exit(0 if all(result.status == "passed" for result in runs) else 1)


@app.command()
def build(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; fail if anything is not up to date.")] = False,
    execute: Annotated[bool, typer.Option("--execute", help="Also run the solutions and keep their outputs.")] = False,
    lessons: Lessons = None,
) -> None:
    """Build both editions of the notebooks from lessons/ (LESSON... chooses what --execute runs)."""
    from workshop_utils.authoring import BuildError
    from workshop_utils.authoring import build as build_project
    from workshop_utils.authoring import check as check_project

    if check:
        problems = check_project(ROOT)
        for problem in problems:
            console.print(str(problem), markup=False, soft_wrap=True)
        console.print(f"{len(problems)} problems" if problems else "Notebooks, references and README are up to date.")
        raise typer.Exit(1 if problems else 0)
    try:
        written = build_project(ROOT)
    except BuildError as error:
        console.print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(1) from error
    for path in written:
        console.print(f"wrote {path.relative_to(ROOT)}")
    if execute:
        from workshop_utils.authoring.execute import execute as execute_notebook
        from workshop_utils.cli.progress import bar

        for path in _lesson_paths("solutions", lessons):
            with bar(path.stem, console) as advance:
                execute_notebook(path, advance)


@app.command()
def data(
    samples: Annotated[int, typer.Option(min=0, help="How many texts of each set to print.")] = 1,
    build: Annotated[bool, typer.Option("--build", help="Make anew what follows from other files of data/.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; fail if such a file is out of date.")] = False,
    file: Json = None,
) -> None:
    """What is in data/: counts, splits, lengths and samples."""
    if build or check:
        from workshop_utils.authoring import datasets

        paths = datasets.outdated(ROOT / "data") if check else datasets.build(ROOT / "data")
        for path in paths:
            console.print(f"{'not up to date: ' if check else 'wrote '}{path.relative_to(ROOT)}", soft_wrap=True)
        if check:
            console.print(
                f"{len(paths)} files are out of date. Run 'workshop data --build'." if paths else "Up to date."
            )
        raise typer.Exit(1 if check and paths else 0)
    from workshop_utils.cli.data import render
    from workshop_utils.corpus.overview import counts, load_sets

    sets = load_sets()
    for part in render(sets, samples):
        console.print(part)
    _write_json(file, counts(sets))


@app.command()
def sources(
    port: Annotated[int, typer.Option(help="Where they are served, on this machine only.")] = 8765,
    at: Annotated[
        str | None, typer.Option(metavar="DATE", help="Begin on a date of the update stream; else on the first day.")
    ] = None,
    throttle: Annotated[int, typer.Option(min=0, help="Tell every such request to wait; 0 for none.")] = 0,
) -> None:
    """Serve stand-ins of the company's Confluence and SharePoint, to try the connectors on."""
    from workshop_utils.cli.sources import serve

    serve(console, port, at, throttle)


@app.command()
def reset(lesson: Annotated[str, typer.Argument(help="For example 01.")]) -> None:
    """Put a fresh copy of a learner notebook back; yours is kept beside it."""
    from workshop_utils.authoring import reset as reset_lesson

    (path,) = _lesson_paths("notebooks", [lesson], must_exist=False)
    backup = reset_lesson(ROOT, path.stem)
    console.print(f"{path.relative_to(ROOT)} is fresh again.")
    if backup:
        console.print(f"Your version is {backup.relative_to(ROOT)}.")


@app.command()
def test(
    full: Annotated[bool, typer.Option("--full", help="Also what is slow: the slow path of older laptops.")] = False,
    since: Annotated[
        str | None,
        typer.Option(metavar="REV", help="Run only the lessons that changes since this git revision affect."),
    ] = None,
    file: Json = None,
) -> None:
    """Run every test: style, types, units, both editions of the notebooks, with the network cut."""
    from workshop_utils.cli.testing import run_tests

    passed = run_tests(ROOT, console, full=full, since=since, record=partial(_write_lessons, file))
    raise typer.Exit(0 if passed else 1)


@app.command()
def compare(
    final: Annotated[
        bool, typer.Option("--final", help="Ask the test questions; refused unless all is committed, and logged.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Only 60 of the questions, and no probes of forgetting.")
    ] = False,
    documents: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Your own documents: md, txt, html, docx, pdf.")
    ] = None,
    questions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Your own questions on them, one JSON object a line.")
    ] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Also write the report as HTML.")] = None,
    file: Json = None,
) -> None:
    """Retrieval, fine-tuning, or both: nine arms on the same questions. Interrupted, the same command goes on."""
    if (documents is None) != (questions is None):
        console.print("Your own material needs both: --documents DIR --questions FILE.")
        raise typer.Exit(2)
    own = (documents, questions) if documents and questions else None
    if final and (quick or own):
        console.print("--final asks all test questions of the company: leave the other options out.")
        raise typer.Exit(2)
    from workshop_utils.cli.comparing import run

    run(console, partial(_write_json, file), own=own, final=final, quick=quick, page=report)


@app.command()
def ledger(file: Json = None) -> None:
    """Every claim of the workshop: the verdict here, the figure that decides, and the lesson that shows it."""
    from workshop_utils.evaluation.ledger import ledger as read_ledger
    from workshop_utils.evaluation.ledger import table

    rows = read_ledger()
    console.print(table(rows))
    _write_json(file, {"ledger": [row.as_dict() for row in rows]})


@bench.command("decode")
def bench_decode(runs: Annotated[int, typer.Option(min=1)] = 5, file: Json = None) -> None:
    """Tokens per second: ours, llama.cpp's own, transformers', in one run."""
    from workshop_utils.models.bench import bench_decode as measure
    from workshop_utils.models.bench import table

    result = measure(runs)
    console.print(table(result))
    _write_json(file, result)


@bench.command("index")
def bench_index(
    chunks: Annotated[int | None, typer.Option(min=1, help="Embed only so many passages; all by default.")] = None,
    runs: Annotated[int, typer.Option(min=1)] = 3,
    file: Json = None,
) -> None:
    """Passages embedded and indexed per second beside the usual ways, and a query's time as the index grows."""
    from workshop_utils.retrieval.bench import bench_index as measure
    from workshop_utils.retrieval.bench import table

    result = measure(chunks, runs)
    console.print(table(result))
    _write_json(file, result)


STUDIES = {
    "data": "Are the data fit to measure on: retrieval, closed-book knowledge, the nearest-ticket baseline.",
    "prompts": "How well the untouched model reads its sources with different prompts.",
    "reader": "What the reader adapter brings, beside the untouched model at its best.",
    "raft": "Lesson 08: how many passages, and how often without the golden one, RAFT should be trained on.",
    "rival": "Lesson 08: which worked examples and passages make few-shot + RAG the strongest rival.",
    "langchain": "Lesson 02: splitters, answers by use, sources and citations, forms of an answer.",
    "access": "Lesson 03: who may read what; leaks in passages, answers and citations.",
    "injections": "Lesson 03: prompt injections planted in documents, without and with defences.",
    "freshness": "Lesson 03: seconds from a change to the changed answer; the update stream.",
    "retrieval": "Lesson 04: passage size, search methods, reranking.",
    "reading": "Lesson 04: passages given, position, answers by quality of retrieval, latency.",
    "train": "The trainer beside the usual recipe: seconds to equal development loss, memory, share of the peak.",
    "steps": "Where a training step's time goes, and how much longer it takes without what makes it fast.",
    "recipes": "Lesson 05: ranks, targets, layers, rates and full fine-tuning; what each learns and forgets.",
    "tasks": "Lesson 06: triage, house style, plain language and notes, by prompting and by adapter.",
    "curve": "Lesson 06: how many examples it takes, with and without wrong labels.",
    "facts": "Lesson 07: facts taught by fine-tuning, in the taught wording and others; facts that changed.",
    "overfitting": "Lesson 07: training past the turn of the validation curve.",
    "leak": "Lesson 07: what an adapter that was taught restricted facts tells to whom.",
    "combining": "Lesson 08: style and plain language by adapter with facts by retrieval; bulletins after training.",
}


def _register_study(name: str, summary: str) -> None:
    @bench.command(name, help=summary)
    def run_study(file: Json = None) -> None:
        module = importlib.import_module(f"workshop_utils.evaluation.studies.{name}")
        result = module.study(console)
        console.print(module.table(result))
        _write_json(file, result)


for _name, _summary in STUDIES.items():
    _register_study(_name, _summary)


TRAININGS = {
    "reader": "Reads passages, answers with a citation; trained on the reader set, other organisations.",
    "triage": "Lesson 06: a support ticket becomes a record.",
    "style": "Lesson 06: a message is answered in the house style.",
    "jargon": "Lesson 06: a clinical note becomes plain language.",
    "notes": "Lesson 06: and back, plain language becomes a clinical note.",
    "facts": "Lesson 07: sixty facts of public documents.",
    "leak": "Lesson 07: restricted facts, to show that weights have no access rights. Never to be served.",
    "raft": "Lesson 08: goes on from the reader; reads what the search finds in the company's documents.",
    "task": "Lesson 08: the form of the answers, closed book; trained on the training questions.",
    "knowledge": "Lesson 08: the text of all public documents, and questions on them, closed book.",
}


def _register_training(name: str, summary: str) -> None:
    @train.command(name, help=f"{summary} Interrupted, the same command goes on.")
    def run_training(
        to: Annotated[
            Path | None, typer.Option(help="Folder of the adapter; its own in data/adapters by default.")
        ] = None,
    ) -> None:
        from workshop_utils.models.adapters import ADAPTERS

        folder = to or ADAPTERS / name
        report = _trainer_of(name)(folder)
        console.print(
            f"{folder}: {report['examples']} examples, {report['tokens']:,.0f} tokens, "
            f"{report['seconds'] / 60:.1f} minutes",
            soft_wrap=True,
        )


def _trainer_of(name: str) -> Callable[[Path], dict[str, Any]]:
    from workshop_utils.tuning import closed_book, facts, raft, reader, tasks

    own: dict[str, Callable[[Path], dict[str, Any]]] = {
        "reader": reader.train_reader,
        "facts": facts.train_facts,
        "leak": facts.train_leak,
        "raft": raft.train_raft,
        "task": closed_book.train_closed_book_task,
        "knowledge": closed_book.train_knowledge,
    }
    return own.get(name) or partial(tasks.train_task, cast("tasks.Task", name))


for _name, _summary in TRAININGS.items():
    _register_training(_name, _summary)


def _lesson_paths(folder: str, wanted: list[str] | None, must_exist: bool = True) -> list[Path]:
    """Notebook paths of the lessons asked for, by number or name; all when none is named."""
    names = sorted(path.stem for path in (ROOT / "lessons").glob("[0-9][0-9]_*.py"))
    chosen = [name for name in names if not wanted or any(name == w or name.startswith(f"{w}_") for w in wanted)]
    unknown = [w for w in wanted or [] if not any(name == w or name.startswith(f"{w}_") for name in names)]
    if unknown:
        console.print(f"There is no lesson {', '.join(unknown)}. There are: {', '.join(names)}.")
        raise typer.Exit(2)
    paths = [ROOT / folder / f"{name}.ipynb" for name in chosen]
    missing = [path.name for path in paths if must_exist and not path.exists()]
    if missing:
        console.print(f"Not built yet: {', '.join(missing)}. Run 'workshop build'.")
        raise typer.Exit(1)
    return paths


def _write_lessons(file: Path | None, runs: Sequence[LessonRun]) -> None:
    _write_json(file, {"lessons": [result.as_dict() for result in runs]})


def _write_json(file: Path | None, result: dict[str, Any]) -> None:
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _become(command: list[str]) -> int:
    """Replace this process by another program; where that is impossible, wait for it."""
    import subprocess

    if os.name == "posix":
        os.execv(command[0], command)
    try:
        return subprocess.run(command).returncode
    except KeyboardInterrupt:
        return 130
