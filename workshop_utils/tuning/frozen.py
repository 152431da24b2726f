"""Computing what stays the same only once: the layers below the first that is trained.

Layers that are not trained give the same output for a text in every epoch, so it is computed before training and kept;
training then starts from it and passes the frozen layers by. With right padding under a causal mask, an example's
output does not depend on the others in its batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workshop_utils.models.transformers_chat import group_by_length
from workshop_utils.tuning.supervised import Row

# tokens of a batch without gradients: larger ones are not faster
TOKENS_PER_BATCH = 1024


def hidden_states(model: Any, texts: Sequence[Sequence[int]], layers: int, *, progress: bool = False) -> list[Any]:
    """What the lowest ``layers`` layers make of each text: tensors (tokens, width) in the model's precision.

    Args:
        model: a decoder of transformers with a language-modelling head.
        texts: token ids.
        progress: show a progress bar.
    """
    import torch
    from tqdm.auto import tqdm

    decoder = model.get_decoder()
    kept: list[Any] = [None] * len(texts)
    whole, norm = decoder.layers, decoder.norm
    was_training = model.training
    model.eval()
    decoder.layers, decoder.norm = whole[:layers], torch.nn.Identity()
    try:
        with torch.no_grad(), tqdm(total=len(texts), desc="Frozen layers", unit="example", disable=not progress) as bar:
            for group in group_by_length([len(text) for text in texts], TOKENS_PER_BATCH):
                longest = max(len(texts[i]) for i in group)
                ids = torch.tensor([[*texts[i], *[0] * (longest - len(texts[i]))] for i in group])
                output = decoder(input_ids=ids.to(model.device), use_cache=False).last_hidden_state
                for place, i in enumerate(group):
                    # a copy: a view would keep the whole batch in memory
                    kept[i] = output[place, : len(texts[i])].to("cpu", copy=True)
                bar.update(len(group))
    finally:
        decoder.layers, decoder.norm = whole, norm
        model.train(was_training)
    return kept


def pass_by(model: Any, layers: int) -> list[Any]:
    """Make the lowest ``layers`` layers hand on what they get, so that training can start from ``hidden_states``.

    Names of the other layers stay as they are.

    Returns:
        The layers taken out, for ``put_back``; who drops them has their memory back.
    """
    import torch

    class PassedBy(torch.nn.Module):
        def forward(self, hidden: Any, **_: Any) -> Any:
            return hidden

    decoder = model.get_decoder()
    lower = list(decoder.layers[:layers])
    for number in range(layers):
        decoder.layers[number] = PassedBy()
    return lower


def put_back(model: Any, lower: Sequence[Any]) -> None:
    """Undo ``pass_by``."""
    for number, layer in enumerate(lower):
        model.get_decoder().layers[number] = layer


def frozen_layers(model: Any) -> int:
    """Layers, counted from the lowest, in and below which nothing is trained; 0 when the embeddings are."""
    decoder = model.get_decoder()
    if any(weight.requires_grad for weight in model.get_input_embeddings().parameters()):
        return 0
    for number, layer in enumerate(decoder.layers):
        if any(weight.requires_grad for weight in layer.parameters()):
            return number
    return len(decoder.layers)


def from_states(rows: Sequence[Row], states: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"inputs_embeds": state, "labels": row["labels"]} for row, state in zip(rows, states, strict=True)]
