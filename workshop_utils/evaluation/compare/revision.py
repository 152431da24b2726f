"""What state of the repository a result belongs to: its commit, and a hash of all that the figures depend on."""

from __future__ import annotations

import ast
import hashlib
import io
import subprocess
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from langchain_core.documents import Document

from workshop_utils.corpus import split_documents
from workshop_utils.corpus.general import load_general_choices, load_prose
from workshop_utils.evaluation.answering import weights_hash
from workshop_utils.evaluation.compare.arms import MAX_TOKENS, Arm
from workshop_utils.evaluation.compare.material import Material
from workshop_utils.rag.prompts import PASSAGE_TOKENS

PACKAGE = Path(__file__).resolve().parents[2]
ROOT = PACKAGE.parent
# what makes prompts, answers and figures; not what only shows them
CODE = (
    *(f"evaluation/compare/{name}.py" for name in ("asking", "contrasts", "costs", "material", "run", "scoring")),
    *(f"evaluation/{name}.py" for name in ("answering", "citations", "intervals", "metrics")),
    *(f"rag/{name}.py" for name in ("answer", "pipeline", "prompt")),
    *(f"retrieval/{name}.py" for name in ("bm25", "dense", "hybrid", "rankings")),
)
# what a result depends on, for git; the results themselves are written by what is run
COUNTED = ("workshop_utils", "data", ":(exclude)data/results")


def inputs_hash(material: Material, arms: Mapping[str, Arm]) -> str:
    """SHA-256 of all in the repository that a comparison depends on: when it changes, its figures are out of date.

    Raises:
        OSError: an adapter is not there.
    """
    later = material.later
    inputs = (
        [replace(arm, adapter=None, starts_from=None) for arm in arms.values()],
        [arm.adapter and weights_hash(arm.adapter) for arm in arms.values()],
        (MAX_TOKENS, material.split, material.questions, material.examples),
        _passages(material.documents),
        later and (_passages(later.documents), later.questions, later.former),
        (load_general_choices(), load_prose()),
        [code_of(PACKAGE / name) for name in CODE],
    )
    return hashlib.sha256(repr(inputs).encode()).hexdigest()


def code_of(path: Path) -> str:
    """What a Python file does, without what it says of that: comments, docstrings and empty lines left out."""
    text = path.read_text("utf-8")
    lines = text.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            assert node.end_lineno is not None
            lines[node.lineno - 1 : node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip())


def commit(root: Path = ROOT) -> str:
    """The commit that is checked out, ``+changes`` where what counts has others; empty where git does not say."""
    try:
        found = _git(root, "rev-parse", "HEAD").strip()
        return f"{found}+changes" if changes(root) else found
    except (OSError, subprocess.CalledProcessError):
        return ""


def changes(root: Path = ROOT) -> list[str]:
    """Files that count and are not as committed.

    Raises:
        OSError: there is no git.
        subprocess.CalledProcessError: the folder is no repository with a commit.
    """
    listed = _git(root, "status", "--porcelain", "--untracked-files=all", "--", *COUNTED)
    return [line[3:] for line in listed.splitlines()]


def _passages(documents: Sequence[Document]) -> list[tuple[str | None, str]]:
    return [(passage.id, passage.page_content) for passage in split_documents(documents, PASSAGE_TOKENS)]


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout
