"""Reranking: a slower model reads question and passage together and puts the candidates of a fast search in order."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document
from langchain_core.messages import HumanMessage
from pydantic import ConfigDict

from workshop_utils.errors import InputError
from workshop_utils.models.transformers_chat import ChatTransformers, group_by_length
from workshop_utils.retrieval.searching import SearchingRetriever

if TYPE_CHECKING:
    from workshop_utils.models.sentence_embedder import SentenceEmbedder

QUERY_LIKELIHOOD_PROMPT = "{passage}\n\nWrite a question that is answered by this text."
# tokens of a padded batch; each of the question's needs the logits of the whole vocabulary
TOKENS_PER_BATCH = 2048


class Reranker(ABC):
    """Puts passages in order by how well they answer a question."""

    @abstractmethod
    def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        """One number a passage, higher is better; comparable for one question only."""

    def rerank(self, question: str, passages: Sequence[Document]) -> list[Document]:
        """All the passages, best first, each with its score in ``metadata["score"]``; ties keep their order."""
        scores = self.scores(question, [passage.page_content for passage in passages]) if passages else []
        order = sorted(range(len(passages)), key=lambda place: -scores[place])
        return [
            passages[i].model_copy(update={"metadata": {**passages[i].metadata, "score": scores[i]}}) for i in order
        ]


class LateInteractionReranker(Reranker):
    """MaxSim of ColBERT (Khattab and Zaharia, 2020): each word of the question looks for its best match.

    The score is the mean over the question's tokens of the highest cosine with a token of the passage. ColBERT trains
    its vectors for that; these are an ordinary sentence embedder's before pooling.
    """

    def __init__(self, embedder: SentenceEmbedder) -> None:
        self._encoder = embedder._client

    def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        asked, *read = self._token_vectors([question, *passages])
        return [float((asked @ tokens.T).max(dim=1).values.mean()) for tokens in read]

    def _token_vectors(self, texts: list[str]) -> list[Any]:
        """Unit vectors of each text's tokens, tensors of shape (tokens, width)."""
        from torch.nn.functional import normalize

        vectors = self._encoder.encode(
            texts, output_value="token_embeddings", convert_to_numpy=False, show_progress_bar=False
        )
        return [normalize(tokens.float(), dim=1) for tokens in vectors]


class QueryLikelihoodReranker(Reranker):
    """How likely a language model finds the question once it has read the passage (Sachan et al., 2022).

    The score is the mean natural-log probability of the question's tokens. No training, but one forward pass over
    every candidate.
    """

    def __init__(self, llm: ChatTransformers) -> None:
        self._llm = llm

    def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        """See ``Reranker``.

        Raises:
            workshop_utils.errors.InputError: the question is empty.
            workshop_utils.models.transformers_chat.ContextExceededError: a passage is too long for the model.
        """
        import torch

        engine = self._llm.engine
        asked = engine.tokenizer.encode(question.strip(), add_special_tokens=False)
        if not asked:
            raise InputError("The question is empty.")
        prompts = [HumanMessage(QUERY_LIKELIHOOD_PROMPT.format(passage=passage)) for passage in passages]
        rows = [self._llm.encode([prompt]) + asked for prompt in prompts]
        self._llm._check_length(rows, 0)
        result = [0.0] * len(rows)
        with engine.lock, torch.inference_mode():
            engine.activate(self._llm.adapter)
            for group in group_by_length([len(row) for row in rows], TOKENS_PER_BATCH):
                # padded on the left: the question stands at the end of every row
                padded = engine.tokenizer.pad({"input_ids": [rows[i] for i in group]}, return_tensors="pt")
                padded = padded.to(engine.model.device)
                logits = engine.model(**padded, logits_to_keep=len(asked) + 1).logits[:, :-1].float()
                target = padded["input_ids"][:, -len(asked) :, None]
                means = logits.log_softmax(-1).gather(2, target).mean(dim=(1, 2))
                for place, mean in zip(group, means.tolist(), strict=True):
                    result[place] = mean
        return result


class CrossEncoderReranker(Reranker):
    """A model trained to score a pair of question and passage, through sentence-transformers.

    Args:
        folder: of such a model, for example a copy of ``cross-encoder/ms-marco-MiniLM-L6-v2``; safetensors only.

    Raises:
        workshop_utils.errors.InputError: the folder is not there.
    """

    def __init__(self, folder: Path | str) -> None:
        if not Path(folder).is_dir():
            raise InputError(f"{folder} is not a folder with a cross-encoder model.")
        self._folder = str(folder)

    def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        pairs = [(question, passage) for passage in passages]
        return [float(score) for score in self._model.predict(pairs, show_progress_bar=False)]

    @cached_property
    def _model(self) -> Any:
        from sentence_transformers import CrossEncoder

        return CrossEncoder(
            self._folder, local_files_only=True, trust_remote_code=False, model_kwargs={"use_safetensors": True}
        )


class RerankingRetriever(SearchingRetriever):
    """The ``k`` passages that the reranker puts first among those that the retriever found.

    Attributes:
        retriever: finds the candidates, as many as its own ``k`` says (20 is usual), inside the access rights.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    retriever: SearchingRetriever
    reranker: Reranker

    def search(self, question: str) -> tuple[list[Document], dict[str, float]]:
        """Passages, best first, each with the reranker's score in ``metadata["score"]``; and seconds by stage."""
        candidates, seconds = self.retriever.search(question)
        started = time.perf_counter()
        best = self.reranker.rerank(question, candidates)[: self.k]
        return best, {**seconds, "reranking": time.perf_counter() - started}
