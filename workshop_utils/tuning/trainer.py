"""Training a LoRA adapter, or all weights, with transformers' ``Trainer`` and PEFT, made to fit a laptop.

What makes it small and fast, each measured in docs/training.md: logits for the answer's tokens alone and a few at a
time, the upper layers adapted and what the lower ones make computed once, adapters in the precision of the
computation, fewer passes over memory in LoRA's layers and in attention, examples of like length in one batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from workshop_utils.models import store
from workshop_utils.models.transformers_chat import WEIGHTS, Engine
from workshop_utils.tuning.adapting import loaded, with_adapter
from workshop_utils.tuning.run import Run, Watch
from workshop_utils.tuning.settings import Settings
from workshop_utils.tuning.supervised import Row

NAMES = {store.CONVERTED_NAME: "SmolLM2-135M-Instruct"}


def train_adapter(
    train: Sequence[Row],
    folder: Path,
    settings: Settings | None = None,
    *,
    dev: Sequence[Row] = (),
    base: Path | Engine | None = None,
    start_from: Path | None = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Train an adapter of the workshop's model and save it as safetensors; a run that was interrupted goes on.

    The same call after an interruption ends with the same weights as if there had been none; with other data or
    settings it begins anew. What is in ``folder`` is replaced at the end, when all went well.

    Args:
        train: ``input_ids`` and ``labels``, as ``encode_examples`` returns them.
        folder: where the adapter is written; ``folder.checkpoints`` beside it holds what is needed to go on.
        dev: examples whose loss is measured before the first step and after each epoch.
        base: the model to adapt: its folder, or a loaded one (``llm.engine``), which is afterwards as it was, so that
            one model is in memory; None for the workshop's.
        start_from: an adapter to go on from, with its rank, targets and layers; a fresh one when None.
        watch: called after each step and each development loss; when None, there is a progress bar.

    Returns:
        What the folder's ``training.json`` holds: ``settings``, ``dtype``, ``examples``, ``tokens`` and
        ``learnt_tokens`` (of all epochs), ``parameters`` (trained), ``steps``, ``seconds``, ``tokens_per_second``
        (development losses not counted), ``peak_mb`` (of this process while it trained; None where it cannot be
        read), ``loss`` and ``dev_loss`` as ``[[step, nats per learnt token], ...]``.

    Raises:
        TrainingDataError: no examples, none to learn from, or longer than the model reads.
        LossError: the loss became NaN or infinite; the message says where the last good adapter is.
        TrainingMemoryError: not enough memory, and what to change.
        DiskFullError: nothing was lost, and the same call goes on.
        workshop_utils.models.transformers_chat.AdapterError: ``start_from`` is damaged or was made for another model.
        workshop_utils.models.store.ModelStoreError: the base model cannot be had.
    """
    chosen = settings or Settings()
    with loaded(base) as (model, is_ours):
        peft_model = with_adapter(model, chosen, start_from)
        # the name for everybody: where the base lies on this machine is of no use to another
        name = Path(model.config.name_or_path).name
        peft_model.active_peft_config.base_model_name_or_path = NAMES.get(name, name)

        def save(to: Path) -> None:
            import torch

            # bfloat16 on disk, whatever the machine computes in
            state = {
                name: weight.to(torch.bfloat16) for name, weight in peft_model.state_dict().items() if "lora_" in name
            }
            peft_model.save_pretrained(str(to), state_dict=state, save_embedding_layers=False)
            (to / "README.md").unlink(missing_ok=True)

        run = Run(model, train, dev, folder, chosen, _identity(base, start_from), watch, save)
        return run(drop_frozen=is_ours)


def train_full(
    train: Sequence[Row],
    folder: Path,
    settings: Settings,
    *,
    dev: Sequence[Row] = (),
    base: Path | None = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Train all weights of the workshop's model, for comparison; the same promises as ``train_adapter``.

    ``rank``, ``targets`` and ``upper_layers`` of the settings are not used. It needs sixteen bytes a weight for
    float32 weights, gradients and Adam's states, 2.2 GB for the workshop's model, before activations.

    Returns:
        The same report; ``load_llm(str(folder), backend="transformers", adapter=None)`` answers with the result.

    Raises:
        The same as ``train_adapter``.
    """
    import transformers

    chosen = replace(settings, upper_layers=None)
    with loaded(base) as (model, _):
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(base or store.llm_dir()))

        def save(to: Path) -> None:
            # float32: what was learnt is small beside the weights, and bfloat16 would round much of it off
            names = [name for name, _ in model.named_parameters()]
            model.save_pretrained(str(to), state_dict=dict(zip(names, run.precise, strict=True)))
            tokenizer.save_pretrained(str(to))

        run = Run(model, train, dev, folder, chosen, _identity(base, None), watch, save)
        return run(drop_frozen=False)


def _identity(base: Path | Engine | None, start_from: Path | None) -> str:
    """What training starts from, in so far as it can be told quickly."""
    name = base.model.config.name_or_path if isinstance(base, Engine) else str(base)
    return f"{name} {'' if start_from is None else store.sha256(start_from / WEIGHTS)}"
