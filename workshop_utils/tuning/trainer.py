"""Training a LoRA adapter with transformers' ``Trainer`` and PEFT, made to fit a laptop.

What makes it small and fast: logits for the answer's tokens alone, the upper layers adapted and the lower ones frozen
without gradient, adapters in the precision of the computation, examples of like length in one batch.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workshop_utils.models import device, store
from workshop_utils.models.transformers_chat import WEIGHTS
from workshop_utils.tuning.supervised import IGNORED

# what an adapter's folder says of how it was made
REPORT = "training.json"
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes:
        upper_layers: how many layers, counted from the top, get an adapter; None for all.
        rank: of the low-rank update (Hu et al., 2021, arXiv:2106.09685); alpha is twice the rank.
        learning_rate: at its peak; it rises over the first steps and falls to zero on a cosine.
        batch_size: examples a step.
    """

    upper_layers: int | None = 15
    rank: int = 16
    learning_rate: float = 1e-3
    epochs: float = 2.0
    batch_size: int = 8
    warmup_share: float = 0.05
    seed: int = 0


def train_adapter(
    train: Sequence[dict[str, list[int]]],
    folder: Path,
    settings: Settings | None = None,
    *,
    dev: Sequence[dict[str, list[int]]] = (),
    base: Path | None = None,
    start_from: Path | None = None,
) -> dict[str, Any]:
    """Train an adapter of the workshop's model and save it as safetensors; a run that was interrupted goes on.

    Args:
        train: ``input_ids`` and ``labels``, as ``encode_examples`` returns them.
        folder: where the adapter is written; ``folder.checkpoints`` beside it holds what is needed to go on.
        dev: examples whose loss is measured after each epoch.
        base: folder of the model to adapt; the workshop's when None.
        start_from: an adapter to go on from; a fresh one when None.

    Returns:
        The settings, loss by step, seconds and tokens: what the adapter's ``training.json`` holds.

    Raises:
        workshop_utils.models.store.ModelStoreError: the base model cannot be had.
    """
    import peft
    import transformers
    from transformers.trainer_utils import get_last_checkpoint

    chosen = settings or Settings()
    place = device.choose()
    transformers.set_seed(chosen.seed)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(
        str(base or store.llm_dir()), dtype=place.torch_dtype
    )
    if start_from is not None:
        model = peft.PeftModel.from_pretrained(model, str(start_from), is_trainable=True, autocast_adapter_dtype=False)
    else:
        model = peft.get_peft_model(model, _lora(chosen, model.config.num_hidden_layers), autocast_adapter_dtype=False)
    work = folder.with_name(f"{folder.name}.checkpoints")
    steps = -(-len(train) // chosen.batch_size) * chosen.epochs
    arguments = transformers.TrainingArguments(
        output_dir=str(work),
        per_device_train_batch_size=chosen.batch_size,
        per_device_eval_batch_size=chosen.batch_size,
        num_train_epochs=chosen.epochs,
        learning_rate=chosen.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(steps * chosen.warmup_share),
        logging_steps=10,
        save_strategy="steps",
        save_steps=50,
        save_total_limit=1,
        eval_strategy="epoch" if dev else "no",
        train_sampling_strategy="group_by_length",
        seed=chosen.seed,
        use_cpu=place.name == "cpu",
        remove_unused_columns=False,
        label_names=["labels"],
        report_to=[],
    )
    trainer = _completion_trainer()(
        model=model,
        args=arguments,
        train_dataset=list(train),
        eval_dataset=list(dev) or None,
        data_collator=_collate,
    )
    last = get_last_checkpoint(str(work)) if work.exists() else None  # type: ignore[no-untyped-call]
    result = trainer.train(resume_from_checkpoint=last)
    report = {
        "settings": asdict(chosen),
        "dtype": place.dtype,
        "examples": len(train),
        "tokens": sum(len(row["input_ids"]) for row in train) * chosen.epochs,
        "seconds": round(result.metrics["train_runtime"], 1),
        "loss": [[entry["step"], round(entry["loss"], 4)] for entry in trainer.state.log_history if "loss" in entry],
        "dev_loss": [round(e["eval_loss"], 4) for e in trainer.state.log_history if "eval_loss" in e],
    }
    # the name for everybody: where the base lies on this machine is of no use to another
    model.active_peft_config.base_model_name_or_path = "SmolLM2-135M-Instruct" if base is None else base.name
    model.save_pretrained(str(folder))
    (folder / "README.md").unlink(missing_ok=True)
    (folder / REPORT).write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    assert (folder / WEIGHTS).exists()
    shutil.rmtree(work, ignore_errors=True)
    return report


def _lora(settings: Settings, layers: int) -> Any:
    import peft

    first = layers - min(settings.upper_layers or layers, layers)
    return peft.LoraConfig(
        r=settings.rank,
        lora_alpha=2 * settings.rank,
        target_modules=list(LINEAR),
        layers_to_transform=list(range(first, layers)),
        task_type="CAUSAL_LM",
    )


def _collate(rows: Sequence[dict[str, list[int]]]) -> dict[str, Any]:
    """One batch, padded on the right; what is padded is neither read nor learnt."""
    import torch

    longest = max(len(row["input_ids"]) for row in rows)

    def padded(name: str, filler: int) -> Any:
        return torch.tensor([row[name] + [filler] * (longest - len(row[name])) for row in rows])

    mask = torch.tensor([[1] * len(r["input_ids"]) + [0] * (longest - len(r["input_ids"])) for r in rows])
    return {"input_ids": padded("input_ids", 0), "labels": padded("labels", IGNORED), "attention_mask": mask}


def _completion_trainer() -> Any:
    """A ``Trainer`` that computes logits only where a token is to be learnt: the vocabulary is most of their cost."""
    import torch
    import transformers

    class CompletionTrainer(transformers.Trainer):
        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            labels = inputs.pop("labels")
            # the hidden state before a token is what predicts it
            learnt = torch.zeros_like(labels, dtype=torch.bool)
            learnt[:, :-1] = labels[:, 1:] != IGNORED
            outputs = model(**inputs, logits_to_keep=learnt)
            wanted = labels[:, 1:][learnt[:, :-1]]
            logits = outputs.logits.reshape(-1, outputs.logits.shape[-1]).float()
            total = torch.nn.functional.cross_entropy(logits, wanted, reduction="sum")
            loss = total / (wanted.numel() if num_items_in_batch is None else num_items_in_batch)
            return (loss, {"logits": logits[:0]}) if return_outputs else loss

        def prediction_step(
            self,
            model: Any,
            inputs: dict[str, Any],
            prediction_loss_only: bool,  # noqa: ARG002
            ignore_keys: Any = None,  # noqa: ARG002
        ) -> Any:
            with torch.inference_mode():
                return self.compute_loss(model, self._prepare_inputs(inputs)), None, None

    return CompletionTrainer
