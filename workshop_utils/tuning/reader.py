"""The reader: an adapter that reads passages, answers with a citation, and says when no passage answers.

It is trained on the reader set, whose organisations have nothing to do with the company on which it is measured.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from langchain_core.documents import Document

from workshop_utils.corpus import split_documents
from workshop_utils.corpus.questions import NO_ANSWER
from workshop_utils.corpus.reader_set import ReaderExample, ReaderPassage, ReaderSplit, load_reader_examples
from workshop_utils.models import load_tokenizer
from workshop_utils.models.adapters import READER
from workshop_utils.rag.prompt import Prompt
from workshop_utils.rag.prompts import PASSAGE_TOKENS, READER_PROMPT
from workshop_utils.tuning.settings import Settings
from workshop_utils.tuning.supervised import Example, encode_examples
from workshop_utils.tuning.trainer import train_adapter

# worked out on Clairval's development questions; layers times rank keeps the file under 5 MB
SETTINGS = Settings(upper_layers=24, rank=10, learning_rate=1e-3, epochs=1)
MOST_PASSAGES = 5


def train_reader(folder: Path = READER) -> dict[str, Any]:
    """Train the reader adapter on the reader set; interrupted, the next call goes on.

    Returns:
        The report: see ``train_adapter``.

    Raises:
        workshop_utils.models.store.ModelStoreError: the base model cannot be had.
    """
    tokenizer = load_tokenizer()
    splits: tuple[ReaderSplit, ...] = ("train", "dev")
    train, dev = (
        encode_examples(
            tokenizer,
            reader_examples(
                load_reader_examples(split), READER_PROMPT, passage_tokens=PASSAGE_TOKENS, most=MOST_PASSAGES
            ),
        )
        for split in splits
    )
    return train_adapter(train, folder, SETTINGS, dev=dev)


def reader_examples(
    examples: Sequence[ReaderExample], prompt: Prompt, *, passage_tokens: int, most: int, seed: int = 0
) -> Iterator[Example]:
    """Examples as the RAG system will ask: numbered passages of its length, the answer with its passage's number.

    Args:
        passage_tokens: the most words and marks of a passage.
        most: the most passages shown; between one and that many are.
    """
    rng = random.Random(seed)
    for example in examples:
        pieces = {passage.id: _pieces(passage, passage_tokens) for passage in example.passages}
        golden = next(
            (p for p in pieces.get(example.source or "", ()) if (example.answer or "") in p.page_content), None
        )
        others = [piece for parts in pieces.values() for piece in parts if piece is not golden]
        if example.answer is not None:
            others = [piece for piece in others if example.answer not in piece.page_content]
            if golden is None:
                continue
        shown = _close_first(others, example.source, rng)[: rng.choice(range(1, most + 1)) - (golden is not None)]
        if golden is not None:
            shown.append(golden)
        rng.shuffle(shown)
        labelled = [(str(number), piece) for number, piece in enumerate(shown, start=1)]
        answer = f"[{shown.index(golden) + 1}] {example.answer}" if golden is not None else NO_ANSWER
        yield Example(tuple(prompt.messages(example.question, labelled)), answer)


def _pieces(passage: ReaderPassage, tokens: int) -> list[Document]:
    document = Document(id=passage.id, page_content=passage.text, metadata={"title": passage.title})
    return split_documents([document], tokens)


def _close_first(pieces: Sequence[Document], source: str | None, rng: random.Random) -> list[Document]:
    """In random order, but pieces of the source's own document as often first as retrieval ranks them high."""
    shuffled = rng.sample(list(pieces), len(pieces))
    own = [piece for piece in shuffled if piece.metadata["source"] == source]
    if own and rng.random() < 0.5:
        return own[:1] + [piece for piece in shuffled if piece is not own[0]]
    return shuffled
