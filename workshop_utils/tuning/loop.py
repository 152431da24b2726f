"""The parts that make transformers' ``Trainer`` fast and small on a CPU: loss, batches, optimiser.

It stands apart from ``trainer`` because it needs torch and transformers at import, which take seconds.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from workshop_utils.models.transformers_chat import group_by_length
from workshop_utils.tuning.frozen import TOKENS_PER_BATCH
from workshop_utils.tuning.supervised import IGNORED

# learnt tokens whose logits are in memory at once: in float32 each has 200 kB for a vocabulary of 49,152
LOGITS_AT_ONCE = 64
# batches whose examples are sorted by length together: little padding, and still another mixture in every epoch
POOL = 8
# texts of a batch are padded to a multiple of this: a CPU's matrix products are compiled for each length they meet
LENGTH_STEP = 16


class NotFiniteError(ArithmeticError):
    """The loss is not a number any more; ``good`` are the trained weights of the last step at which it was one."""

    def __init__(self, loss: float, good: list[torch.Tensor] | None) -> None:
        super().__init__(str(loss))
        self.loss, self.good = loss, good


class AnswerLoss(torch.autograd.Function):
    """Cross-entropy, summed, of the tokens to be learnt, whose logits are never in memory all at once.

    The gradient is made on the way forward, while the logits are there: for softmax p it is (p - 1[wanted]) W.
    """

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, head: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Loss of ``hidden`` (tokens, width) under ``head`` (vocabulary, width) for ``wanted`` (tokens,) ids."""
        learning = any(ctx.needs_input_grad)
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        to_hidden = torch.empty_like(hidden) if learning else None
        to_head = torch.zeros_like(head) if ctx.needs_input_grad[1] else None
        for start in range(0, len(hidden), LOGITS_AT_ONCE):
            part = hidden[start : start + LOGITS_AT_ONCE]
            ids = wanted[start : start + LOGITS_AT_ONCE, None]
            logits = torch.nn.functional.linear(part, head).float()
            normaliser = logits.logsumexp(-1, keepdim=True)
            total += (normaliser - logits.gather(1, ids)).sum()
            if to_hidden is not None:
                logits.sub_(normaliser).exp_()
                logits.scatter_add_(1, ids, -torch.ones_like(normaliser))
                gradient = logits.to(hidden.dtype)
                torch.mm(gradient, head, out=to_hidden[start : start + LOGITS_AT_ONCE])
                if to_head is not None:
                    to_head.addmm_(gradient.T, part)
        ctx.save_for_backward(to_hidden, to_head)
        return total

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        to_hidden, to_head = ctx.saved_tensors
        return to_hidden * upstream, None if to_head is None else to_head.mul_(upstream), None


class AnswerModel(torch.nn.Module):
    """A decoder of transformers with a language-modelling head, whose output is the loss of the answers' tokens."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, labels: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
        """Negative log-likelihood of the tokens to be learnt, summed; shape (1,).

        Args:
            labels: token ids, (batch, tokens); -100 where nothing is learnt.
            inputs: ``input_ids``, or ``inputs_embeds`` from ``frozen.hidden_states``.
        """
        hidden = self.model.get_decoder()(**inputs, use_cache=False).last_hidden_state
        # the hidden state before a token is what predicts it
        learnt = labels[:, 1:] != IGNORED
        head = self.model.get_output_embeddings().weight
        wanted = labels[:, 1:][learnt]
        total: torch.Tensor = AnswerLoss.apply(hidden[:, :-1][learnt], head, wanted)  # type: ignore[no-untyped-call]
        return total[None]


def collate(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One batch, padded on the right to a multiple of ``LENGTH_STEP`` tokens.

    There is no attention mask: under the causal one no token sees the padding that follows it, and attention without
    a mask of its own takes a faster way.
    """
    longest = -(-max(len(row["labels"]) for row in rows) // LENGTH_STEP) * LENGTH_STEP
    batch = {
        "labels": torch.tensor([[*row["labels"], *[IGNORED] * (longest - len(row["labels"]))] for row in rows]),
    }
    if "inputs_embeds" in rows[0]:
        states = [row["inputs_embeds"] for row in rows]
        batch["inputs_embeds"] = states[0].new_zeros(len(rows), longest, states[0].shape[-1])
        for place, state in zip(batch["inputs_embeds"], states, strict=True):
            place[: len(state)] = state
    else:
        batch["input_ids"] = torch.tensor(
            [[*row["input_ids"], *[0] * (longest - len(row["input_ids"]))] for row in rows]
        )
    return batch


class ByLength(torch.utils.data.Sampler[int]):
    """Another random order in every epoch, in which the examples of a batch are of like length."""

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size, self.seed, self.epoch = lengths, batch_size, seed, 0

    def __len__(self) -> int:
        return len(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        rng = random.Random(f"{self.seed} {self.epoch}")
        order = rng.sample(range(len(self.lengths)), len(self.lengths))
        size, pool = self.batch_size, self.batch_size * POOL
        pools = [sorted(order[at : at + pool], key=lambda i: self.lengths[i]) for at in range(0, len(order), pool)]
        batches = [some[at : at + size] for some in pools for at in range(0, len(some), size)]
        rng.shuffle(batches)
        # what follows is cut into batches again, so one that is not full must be the last
        batches.sort(key=lambda batch: len(batch) < size)
        return iter([index for batch in batches for index in batch])


def adam(parameters: Iterable[Any], learning_rate: float) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter, 2017, arXiv:1711.05101), no decay, with weights and states in float32.

    Weights in a shorter precision lose updates that are small beside them: each has a float32 copy, which is what is
    updated, saved and rounded back.
    """
    weights = list(parameters)
    masters = [w if w.dtype == torch.float32 else w.detach().float().requires_grad_() for w in weights]
    pairs = [(weight, master) for weight, master in zip(weights, masters, strict=True) if master is not weight]
    fused = weights[0].device.type in ("cpu", "cuda")
    optimiser = torch.optim.AdamW(masters, lr=learning_rate, weight_decay=0.0, fused=fused)

    def take(*_: Any) -> None:
        for weight, master in pairs:
            master.grad = None if weight.grad is None else weight.grad.float()
            weight.grad = None

    def give(*_: Any) -> None:
        with torch.no_grad():
            for weight, master in pairs:
                weight.copy_(master)
                master.grad = None

    def save(_: Any, state: dict[str, Any]) -> None:
        state["weights"] = [master.detach().clone() for master in masters]

    def load(_: Any, state: dict[str, Any]) -> dict[str, Any]:
        with torch.no_grad():
            for master, saved in zip(masters, state["weights"], strict=True):
                master.copy_(saved)
        give()
        return {key: value for key, value in state.items() if key != "weights"}

    optimiser.register_step_pre_hook(take)
    optimiser.register_step_post_hook(give)
    optimiser.register_state_dict_post_hook(save)
    optimiser.register_load_state_dict_pre_hook(load)
    return optimiser


class AnswerTrainer(transformers.Trainer):
    """A ``Trainer`` that learns answers: loss over their tokens alone, batches by length, no step after a NaN.

    Checkpoints are the optimiser's, which has the trained weights in full precision, and the trainer's state.
    """

    def __init__(
        self,
        model: Any,
        train: Sequence[dict[str, Any]],
        dev: Sequence[dict[str, Any]],
        keep_good: bool,
        **options: Any,
    ) -> None:
        # a Trainer that is to measure wants to have been given something to measure on
        self.answers, self.train_rows, self.dev_rows = AnswerModel(model), train, dev
        super().__init__(
            model=self.answers, data_collator=collate, train_dataset=train, eval_dataset=dev or None, **options
        )
        self.keep_good = keep_good
        self.trained = [weight for weight in model.parameters() if weight.requires_grad]
        self.good: list[torch.Tensor] | None = None
        # loss of the step that is being made, over its batches
        self.step_loss = 0.0
        self.loss_is_scaled_for_ga = True

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], *_: Any, num_items_in_batch: Any = None, **__: Any
    ) -> Any:
        # gradients are averaged over the processes, and the tokens are those of all processes
        return model(**inputs).sum() / num_items_in_batch * self.accelerator.num_processes

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Any:
        loss = super().training_step(model, inputs, num_items_in_batch)
        if not math.isfinite(float(loss)):
            raise NotFiniteError(float(loss), self.good)
        if self.keep_good:
            self.good = [weight.detach().clone() for weight in self.trained]
        self.step_loss += float(loss)
        return loss

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Loss per learnt token over all of the development examples, however they are batched."""
        metrics = {"eval_loss": mean_loss(self.answers, self.dev_rows)}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def save_model(self, output_dir: Any = None, *_: Any, **__: Any) -> None:
        """Only the folder: see the class."""
        Path(output_dir).mkdir(parents=True, exist_ok=True)

    def _load_from_checkpoint(self, *_: Any, **__: Any) -> None:
        """Nothing: see the class."""

    def _get_train_sampler(self, *_: Any) -> Any:
        lengths = [len(row["labels"]) for row in self.train_rows]
        return ByLength(lengths, self.args.train_batch_size, self.args.seed)


def mean_loss(model: torch.nn.Module, rows: Sequence[dict[str, Any]]) -> float:
    """Negative log-likelihood per learnt token, over all of the rows, however they are batched.

    Args:
        model: an ``AnswerModel``.
    """
    model.eval()
    place = next(model.parameters()).device
    total, tokens = 0.0, 0
    with torch.no_grad():
        for group in group_by_length([len(row["labels"]) for row in rows], TOKENS_PER_BATCH):
            batch = collate([rows[i] for i in group])
            total += float(model(**{key: value.to(place) for key, value in batch.items()}))
            tokens += int((batch["labels"] != IGNORED).sum())
    return total / tokens
