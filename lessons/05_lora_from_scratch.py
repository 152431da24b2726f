# ---
# workshop:
#   title: LoRA from scratch
#   question: How can training 0.2% of the weights change what a model does?
#   ends_with: LoRA in forty lines, inserted into the real model and equal to PEFT; full fine-tuning and its bill beside it
#   claims: [FM1, FM2, F-1]
#   minutes: 45
#   outcomes:
#     - say what memory a training run needs before it starts
#     - explain what a low-rank update is, and what evidence there is that it is enough
#     - write a LoRA layer, insert it, train it, merge it, and know where merging loses something
#     - train with `peft` and `Trainer`, and know what each setting does
#     - extrapolate the cost to a model of 7 billion weights, and say that it is an extrapolation
#   prerequisites: [00_start_here]
# ---

# %% [markdown]
# Until here you have trained nothing. Now you do. You train whole matrices first, look at what has changed in them,
# and find that much less would have done. That is **LoRA**, *low-rank adaptation*. You write it yourself and prove that it
# computes what the library computes.
#
# The task is small: a support ticket comes in, a record in JSON goes out.

# %%
from workshop_utils.tuning.tasks import task_items

example = task_items("triage", "train", 1)[0]
print(example.text)
print()
print(example.answer)

# %% [markdown]
# Lesson 06 is about doing this *well*. Here a few tickets are enough, since we want to see the machinery. The model
# computes in `float32` in this lesson, on every machine, because we want to compare numbers to five digits.

# %%
import os

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from workshop_utils.models import store

QUICK = os.environ.get("WORKSHOP_QUICK") == "1"
tokenizer = AutoTokenizer.from_pretrained(store.llm_dir())
model = AutoModelForCausalLM.from_pretrained(store.llm_dir(), dtype=torch.float32)

# %% [markdown]
# ## Why not all weights?
#
# Count them first.

# %%
total = sum(weight.numel() for weight in model.parameters())
print(f"{total:,} weights of 4 bytes: {4 * total / 1e9:.2f} GB")

# %% [markdown]
# To *use* the model that is nearly all. To *train* it, each weight that is trained needs three more numbers of its own. Its
# **gradient**: in which direction does the loss fall? And two that the optimiser **Adam** keeps: a running mean of the
# gradient, and one of its square.
#
# ### Exercise 05.1 · The memory of a training run (extra)
# difficulty ●○○ · importance ●●● · about 4 minutes
#
# > **Predict before you run.** The model takes 0.54 GB. How much does it take to train all of it?

# %%
from workshop_utils.exercises import check


# %% tags=["exercise", "extra"]
def training_bytes(total: int, trained: int) -> int:
    """Bytes for weights, gradients and Adam, all in float32 (4 bytes a number).

    total: weights of the model; trained: how many of them are trained. The others need no gradient and no Adam.
    """
    # BEGIN SOLUTION
    return 4 * total + 4 * trained + 8 * trained
    # END SOLUTION


# %% tags=["check"]
training_bytes = check(training_bytes)

# %%
print(f"to use it:         {4 * total / 1e9:.2f} GB")
print(f"to train all:      {training_bytes(total, total) / 1e9:.2f} GB")
print(f"to train a 500th:  {training_bytes(total, total // 500) / 1e9:.2f} GB")

# %% [markdown]
# So full fine-tuning takes four times the model, *before* it has read a word: what each layer computes has to be kept for
# the way back, too (the **activations**; they grow with the length of the batch). Too much for a small machine, so a
# command has done it (`workshop bench recipes`), and measured. Is the arithmetic right?

# %%
import json
import warnings

from workshop_utils.corpus import data_dir

warnings.filterwarnings("ignore", category=FutureWarning)  # what libraries tell each other

recipes = json.loads((data_dir() / "results" / "recipes.json").read_text("utf-8"))
runs = recipes["runs"]
full, lora = runs[recipes["best"]["full"]], runs["r8"]

for name, run in {"all weights": full, "LoRA": lora}.items():
    by_formula = training_bytes(total, run["trainable"]) / 1e9
    peak = f"{run['peak_mb'] / 1000:.2f} GB" if run["peak_mb"] else "unknown"
    print(f"{name:12s} formula {by_formula:.2f} GB, measured peak of the process {peak}")

# %% [markdown]
# Two things pull the measured figure away from the formula. Up: Python, its libraries and the activations. Down, for LoRA:
# the workshop's trainer holds the frozen weights in `bfloat16` (2 bytes a number) where the CPU can compute with it, and
# keeps no activations of the layers below the lowest adapter (docs/training.md).
#
# ## A training loop by hand
#
# A row for training: the ticket and the answer, as token numbers. Its `labels` are what the model shall learn to say next;
# where they are -100 the model only reads. Lesson 06 looks at that token by token.

# %%
from workshop_utils.tuning.tasks import task_rows

STEPS, TOGETHER = (2 if QUICK else 8), 4
LONGEST = 125  # tokens: short tickets train faster and take less memory


def short_rows(split: str, n: int) -> list[dict]:
    return [row for row in task_rows(tokenizer, "triage", split) if len(row["input_ids"]) <= LONGEST][:n]


rows = short_rows("train", STEPS * TOGETHER)
dev_rows = short_rows("dev", 2 if QUICK else 10)
read = [label == -100 for label in rows[0]["labels"]]
print(f"the first row: {sum(read)} tokens only read, {len(read) - sum(read)} learnt")


# %%
def tensors(row: dict[str, list[int]]) -> dict:
    """One row for the model. Only the last tokens are learnt, so only they need to be compared with the vocabulary."""
    last = sum(label != -100 for label in row["labels"]) + 1
    ids, labels = torch.tensor([row["input_ids"]]), torch.tensor([row["labels"][-last:]])
    return {"input_ids": ids, "labels": labels, "logits_to_keep": last}


def dev_loss() -> float:
    """Mean loss of tickets that are not trained on."""
    with torch.inference_mode():
        return sum(model(**tensors(row)).loss.item() for row in dev_rows) / len(dev_rows)


untouched = dev_loss()
probe = tensors(dev_rows[0])
with torch.inference_mode():
    probe_loss = model(**probe).loss.item()


def as_it_was() -> bool:
    """Whether the loss of one ticket is that of the untouched model."""
    with torch.inference_mode():
        return abs(model(**probe).loss.item() - probe_loss) < 1e-4


# %% [markdown]
# The loop has four lines that matter. **Forward**: how wrong is the model? **Backward**: a gradient for each trained
# weight. After four tickets, whose gradients add up, one **step** against the gradient, and the gradients are set back.

# %%
from tqdm.auto import tqdm


def train(parameters: list, rate: float) -> tuple[list[float], int]:
    """Train these weights on the rows, a few tickets a step. Returns the loss of each step, and the bytes that Adam kept."""
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
    losses = []
    for step in tqdm(range(STEPS), desc="training"):
        step_loss = 0.0
        for row in rows[step * TOGETHER :][:TOGETHER]:
            loss = model(**tensors(row)).loss / TOGETHER  # forward
            loss.backward()  # backward: gradients add up
            step_loss += loss.item()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(step_loss)
    return losses, sum(number.nbytes for state in optimiser.state.values() for number in state.values() if number.dim())


# %% [markdown]
# We freeze everything, and train 30 matrices **whole**: `q_proj` and `v_proj`, which make queries and values in the
# attention, in the upper 15 of the model's 30 layers. Nothing restricts how they change. The lower layers need not even be
# walked back through.

# %%
LAYERS = model.config.num_hidden_layers
UPPER = range(LAYERS // 2, LAYERS)
NAMES = ("q_proj", "v_proj")

model.requires_grad_(False)
places = [(number, name) for number in UPPER for name in NAMES]


def linear(place: tuple[int, str]) -> torch.nn.Module:
    """The linear layer at a place, such as (20, 'q_proj')."""
    number, name = place
    return model.model.layers[number].self_attn.get_submodule(name)


weights = {place: linear(place).weight for place in places}
before = {place: weight.clone() for place, weight in weights.items()}
print(len(weights), "matrices,", f"{sum(w.numel() for w in weights.values()):,} weights")

# %% tags=["nbval-ignore-output"]
losses, adam_bytes = train([weight.requires_grad_(True) for weight in weights.values()], rate=3e-4)
whole = dev_loss()
print("loss by step:", *(f"{loss:.2f}" for loss in losses))
print(f"on other tickets: {untouched:.2f} before, {whole:.2f} after")

# %%
print("it has learnt something that holds for other tickets:", whole < 0.8 * untouched or QUICK)
print("bytes that Adam keeps for each trained weight:", adam_bytes / sum(w.numel() for w in weights.values()))

# %% [markdown]
# Eight bytes, as in the formula.
#
# ## What has changed?
#
# Take the difference of a matrix after and before: the **update**. A *singular value decomposition* writes it as a sum of
# simple matrices, each one column times one row, the strongest first. A matrix that needs only *r* of them has **rank**
# *r*.
#
# > **Predict before you run.** An update of 576 by 576 may have 576 such directions. How many matter?

# %%
decomposed = {place: torch.linalg.svd(weights[place].detach() - before[place], full_matrices=False) for place in places}


def energy(values: torch.Tensor, rank: int) -> float:
    """Share of the squared size that lies in the strongest directions."""
    return float((values[:rank] ** 2).sum() / (values**2).sum())


# %% tags=["nbval-ignore-output"]
import matplotlib.pyplot as plt

shown = (UPPER[7], "q_proj")
trained_values = decomposed[shown].S
random_values = torch.linalg.svdvals(torch.randn(before[shown].shape, generator=torch.Generator().manual_seed(0)))
figure, axes = plt.subplots(figsize=(7, 3))
axes.semilogy(trained_values / trained_values[0], label="our update")
axes.semilogy(random_values / random_values[0], label="random numbers")
axes.set_xlabel("direction, strongest first")
axes.set_ylabel("singular value")
axes.set_ylim(1e-3, 1.5)
axes.legend()
figure.tight_layout()
for rank in (1, 8, 64):
    print(
        f"rank {rank:2d}: {energy(trained_values, rank):.0%} of the update, {energy(random_values, rank):.0%} of noise"
    )

# %% [markdown]
# *Random numbers* is the yardstick: there, no direction is special. Our update is far from it: a few directions carry much,
# and a long flat tail the rest. But is the tail needed? A picture can't tell. So throw it away, and ask the model: keep
# only the *r* strongest directions of each of the 30 updates, and measure the loss again.

# %%
cut = {}
for rank in (1, 8):
    for place, (left, values, right) in decomposed.items():
        weights[place].data = before[place] + left[:, :rank] * values[:rank] @ right[:rank]
    cut[rank] = dev_loss()

# %% tags=["nbval-ignore-output"]
for rank, loss in cut.items():
    print(f"rank {rank}: loss {loss:.2f}, {(untouched - loss) / (untouched - whole):.0%} of what was learnt")

# %%
learnt = {rank: (untouched - loss) / (untouched - whole) for rank, loss in cut.items()}
print("rank 8 keeps more than half of what was learnt:", learnt[8] > 0.5 or QUICK)
trained_energy, random_energy = (energy(values, 8) for values in (trained_values, random_values))
print("its strongest 8 directions are stronger than those of noise:", trained_energy > 2 * random_energy)

# %% [markdown]
# That is the observation behind LoRA: what fine-tuning changes has few directions that count. Two warnings, though.
#
# **First**, this was a short run, on few tickets, and Adam's first steps are peculiar: they move every weight by about the
# same amount, whatever the size of its gradient. Here is a *complete* full fine-tuning: all weights, more tickets, and the
# share of each update that lies in its strongest directions.

# %%
matrices = recipes["spectrum"]["matrices"]
print(f"{runs[recipes['spectrum']['of']]['label']}, {recipes['n_train']} tickets, {recipes['epochs']} epochs")
print("share of the update     rank 1   rank 8   rank 64  (noise, rank 8)")
for row in matrices:
    shares = "   ".join(f"{row['energy'][rank]:6.0%}" for rank in ("1", "8", "64"))
    print(f"{row['name']:22s} {shares}   {row['random_energy']['8']:6.0%}")

# %%
stronger = sum(row["energy"]["8"] > 2 * row["random_energy"]["8"] for row in matrices)
most = sum(row["energy"]["8"] > 0.5 for row in matrices)
print(f"rank 8 holds more than twice what it holds of noise: in {stronger} of {len(matrices)} matrices")
print(f"rank 8 holds more than half of the update:           in {most} of {len(matrices)}")

# %% [markdown]
# *Far from noise* and *of rank 8* are two things: the table says how much is left in the tail. Whether the tail is *needed*
# is decided by quality, and that comes below: LoRA beside full fine-tuning.
#
# **Second**, a tempting proof that is none. The reader adapter of lessons 00 to 04 is an update, too. Its rank?

# %%
from safetensors.torch import load_file

from workshop_utils.models.adapters import READER

reader = {key: value.float() for key, value in load_file(READER / "adapter_model.safetensors").items()}
prefix = f"base_model.model.model.layers.{UPPER[5]}.self_attn.q_proj"
reader_update = 2 * reader[f"{prefix}.lora_B.weight"] @ reader[f"{prefix}.lora_A.weight"]  # 2: its scale, see below
print("shape", tuple(reader_update.shape), " rank", int(torch.linalg.matrix_rank(reader_update)))

# %% [markdown]
# Ten, and it proves nothing: it was *made* as a product of a 576 by 10 and a 10 by 576 matrix. Whatever it had learnt, its
# rank could not be higher. Evidence for low rank must come from training that was free to do otherwise, like ours above.
#
# ## LoRA
#
# If few directions count, train only those. Keep the weight W as it is, and add a product of two thin matrices:
#
# $$W' = W + \frac{\alpha}{r} B A$$
#
# A has *r* rows, B has *r* columns. For 576 by 576 and *r* = 8 these are 9,216 numbers in place of 331,776. The **scale**
# $\alpha / r$ says how strongly the update counts: $\alpha$ (*alpha*) is chosen, often twice the rank, and dividing by *r*
# keeps the sum from growing with the rank.

# %%
del decomposed  # memory that is needed no more
for place, weight in weights.items():
    weight.data = before[place].clone()
    weight.requires_grad_(False)
print("the model is as it was:", as_it_was())

# %% [markdown]
# ### Exercise 05.2 · A LoRA layer
# difficulty ●●○ · importance ●●● · about 10 minutes
#
# Three places to fill. **At the start the layer must do what its base does**, so B A must be zero there; but if both were
# zero no gradient could ever reach them (try it: the gradient of A is multiplied by B). So B starts at zero and A with
# random numbers.

# %%
import copy
import math

from torch import nn


# %% tags=["exercise"]
class LoraLinear(nn.Module):
    """A linear layer that is frozen, plus an update of low rank that is trained: base(x) + alpha / rank * B A x."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        # make self.A (rank, in_features), self.B (out_features, rank), both nn.Parameter, and self.scale;
        # nn.init.kaiming_uniform_(tensor, a=math.sqrt(5)) fills a tensor as nn.Linear does
        # BEGIN SOLUTION
        start = nn.init.kaiming_uniform_(torch.empty(rank, base.in_features), a=math.sqrt(5))
        self.A = nn.Parameter(start)
        self.B = nn.Parameter(torch.zeros(base.out_features, rank))
        self.scale = alpha / rank
        # END SOLUTION

    def delta(self) -> torch.Tensor:
        """The update as one matrix, (out_features, in_features), scale included."""
        # BEGIN SOLUTION
        return self.scale * (self.B @ self.A)
        # END SOLUTION

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in_features) to (..., out_features). Never builds the large matrix: first A, then B."""
        # BEGIN SOLUTION
        return self.base(x) + self.scale * (x @ self.A.T @ self.B.T)
        # END SOLUTION


# %% tags=["check"]
LoraLinear = check(LoraLinear)

# %% [markdown] tags=["instructor"]
# **Question for the room** before 05.2: "Why not start with both at zero? With both random?" (Both zero: a saddle, no
# gradient, nothing ever moves. Both random: the first answer is already another model's.) **Common errors**: alpha instead
# of alpha / rank; `B @ A @ x` on row vectors. **When late**: skip the extras 05.1 and 05.3 (the check hands back the
# reference), and the section on drift.

# %% [markdown]
# > **Predict before you run.** Why *first A, then B*? For one token: how many multiplications are B (A x), and (B A) x?

# %%
size, rank = 576, 8
print("B (A x):", rank * size + size * rank, "     (B A) x:", size * rank * size + size * size)

# %% [markdown]
# ### Into the model
#
# Each of the 30 linear layers is replaced by a `LoraLinear` around it. PyTorch finds the new parameters by itself.

# %%
RANK, ALPHA = 8, 16


def place_layer(place: tuple[int, str], layer: nn.Module) -> None:
    """Put a layer where another one was."""
    number, name = place
    setattr(model.model.layers[number].self_attn, name, layer)


torch.manual_seed(0)
layers = {place: LoraLinear(linear(place), RANK, ALPHA) for place in places}
for place, layer in layers.items():
    place_layer(place, layer)

# %%
parameters = [weight for weight in model.parameters() if weight.requires_grad]
names = {name.rpartition(".")[2] for name, weight in model.named_parameters() if weight.requires_grad}
trained = sum(weight.numel() for weight in parameters)
print("trained:", sorted(names), f"{trained:,} of {total:,} weights, {trained / total:.2%}")
print(f"whole matrices: {sum(w.numel() for w in weights.values()) / trained:.0f} times as many")
print("it answers as before:", as_it_was())

# %% [markdown]
# A quick test that tells much: *only* A and B are trained, and the model answers as before.
#
# ### Exercise 05.3 · Count before you train (extra)
# difficulty ●○○ · importance ●●○ · about 4 minutes


# %% tags=["exercise", "extra"]
def lora_parameters(shapes: list[tuple[int, int]], rank: int, layers: int) -> int:
    """How many numbers LoRA trains.

    shapes: (out_features, in_features) of the adapted matrices of one layer; layers: how many layers are adapted.
    """
    # BEGIN SOLUTION
    return layers * sum(rank * (rows + columns) for rows, columns in shapes)
    # END SOLUTION


# %% tags=["check"]
lora_parameters = check(lora_parameters)

# %%
by_formula = lora_parameters([(576, 576), (192, 576)], RANK, len(UPPER))
print(f"by formula {by_formula:,}, counted in the model {trained:,}: equal", by_formula == trained)
every = [tuple(m.weight.shape) for n, m in model.model.layers[0].named_modules() if n.endswith("_proj")]
print(f"all {len(every)} matrices of a layer, rank 8: {lora_parameters(every, 8, len(UPPER)):,}")
print(f"                           rank 64: {lora_parameters(every, 64, len(UPPER)):,}")

# %% [markdown]
# The number grows with the *sum* of the sides, not with their product; the larger the model, the smaller the share.
#
# ### Train it
#
# The same loop, the same tickets, other parameters.
#
# > **Predict before you run.** The whole matrices had many times as many trained weights. How far behind will LoRA be?

# %%
import hashlib


def fingerprint() -> str:
    """A hash of all frozen weights."""
    digest = hashlib.sha256()
    for weight in model.parameters():
        if not weight.requires_grad:
            digest.update(weight.detach().numpy())
    return digest.hexdigest()


frozen = fingerprint()
losses, adam_bytes = train(parameters, rate=3e-3)
with_lora = dev_loss()

# %% tags=["nbval-ignore-output"]
print("loss by step:", *(f"{loss:.2f}" for loss in losses))
print(f"on other tickets: {untouched:.2f} untouched, {whole:.2f} with whole matrices, {with_lora:.2f} with LoRA")

# %%
print("LoRA has learnt, too:", with_lora < 0.8 * untouched or QUICK)
print("every frozen weight is what it was:", fingerprint() == frozen)
print(f"Adam keeps {adam_bytes / 1e6:.1f} MB; for all weights it would keep {8 * total / 1e6:.0f} MB")

# %% [markdown]
# (The rates differ: 0.003 for LoRA, 0.0003 for whole matrices. Each method has a rate of its own; more on that below. And
# eight steps are a start, no result.)
#
# ## Is it the real thing?
#
# `peft` is the library that is mostly used. If we have understood LoRA, our forty lines and PEFT must agree: **same weights
# in, same numbers out**, and the same gradients. We ask on a row that was not trained on, in the real model, through all 30
# layers.


# %%
def logits_and_gradients(parameters: list) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """What the model says about the probe, and the gradient of its loss."""
    model.zero_grad()
    output = model(**probe)
    output.loss.backward()
    return output.logits.detach(), [weight.grad.clone() for weight in parameters]


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Size of the difference, relative to the size of the second."""
    return float((one - other).norm() / other.norm())


our_parameters = [weight for layer in layers.values() for weight in (layer.A, layer.B)]
our_logits, our_gradients = logits_and_gradients(our_parameters)

# %% [markdown]
# Now ours comes out, PEFT goes in, and gets our trained A and B. One library call wraps the layers:

# %%
from peft import LoraConfig, get_peft_model

for place, layer in layers.items():
    place_layer(place, layer.base)

config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=list(NAMES), layers_to_transform=list(UPPER))
peft_model = get_peft_model(model, config)
peft_model.print_trainable_parameters()

# %%
peft_parameters = []
for place, layer in layers.items():
    theirs = linear(place)  # now a layer of PEFT
    for pair, ours in ((theirs.lora_A, layer.A), (theirs.lora_B, layer.B)):
        pair["default"].weight.data.copy_(ours)
        peft_parameters.append(pair["default"].weight)
peft_logits, peft_gradients = logits_and_gradients(peft_parameters)

# %%
gradients_apart = max(apart(a, b) for a, b in zip(our_gradients, peft_gradients, strict=True))
print("outputs equal to 1e-5:            ", apart(our_logits, peft_logits) < 1e-5)
print(f"all {len(our_gradients)} gradients equal to 1e-5:  ", gradients_apart < 1e-5)
with peft_model.disable_adapter():
    difference = apart(model(**probe).logits, peft_logits)
print("and the adapter does make a difference:", difference > 1e-3)

# %% [markdown]
# The third line matters: with B at zero the outputs would be equal whatever A and the scale are. A test must be able to fail.
#
# ## Merging
#
# While it trains, LoRA costs a little time: two thin products more in each layer. Afterwards it need not. Call the update
# (scale included) ΔW: then W + ΔW is one matrix of the old shape.
#
# ### Exercise 05.4 · Merge
# difficulty ●●○ · importance ●●● · about 6 minutes
#
# Return a plain `nn.Linear` that does what the LoRA layer does. The layer and its base must stay as they are: others may
# still need them.


# %% tags=["exercise"]
def merge(layer: LoraLinear) -> nn.Linear:
    """A plain linear layer with the update inside its weight; `layer` and `layer.base` stay as they are."""
    # BEGIN SOLUTION
    merged = copy.deepcopy(layer.base)
    merged.weight.data += layer.delta().detach()
    return merged
    # END SOLUTION


# %% tags=["check"]
merge = check(merge)

# %%
peft_model.unload()  # PEFT's layers out
for place, layer in layers.items():
    place_layer(place, merge(layer))
with torch.inference_mode():
    merged_logits = model(**probe).logits
print("merged, equal to 1e-5:", apart(merged_logits, our_logits) < 1e-5)
print("layers of LoRA left in the model:", sum(isinstance(part, LoraLinear) for part in model.modules()))

# %%
for place, layer in layers.items():
    place_layer(place, layer.base)
print("the base is as it was:", as_it_was())

# %% [markdown]
# ### Taking it out again
#
# We could put the base back because we had kept it. To save memory, PEFT's `unmerge` subtracts instead: W + ΔW - ΔW. In
# exact arithmetic that is W. Computers round, and `bfloat16`, in which models are stored, has under three decimal digits.
#
# > **Predict before you run.** We merge and unmerge one adapter 200 times. How does the error grow? And if they are 200
# > *different* adapters, as on a server with many customers?

# %%
from collections.abc import Iterable

W = linear((UPPER[5], "q_proj")).weight.detach()
generator = torch.Generator().manual_seed(0)


def another_update() -> torch.Tensor:
    """An update of rank 10, as large as the reader's."""
    b, a = torch.randn(576, 10, generator=generator), torch.randn(10, 576, generator=generator)
    return (b @ a) * reader_update.norm() / (b @ a).norm()


def drift(updates: Iterable[torch.Tensor], dtype: torch.dtype) -> list[float]:
    """How far the weight is from where it was, relative to its size, after each round of in and out."""
    weight, far = W.to(dtype), []
    for update in updates:
        weight = weight + update.to(dtype) - update.to(dtype)
        far.append(apart(weight.float(), W))
    return far


same = drift((reader_update for _ in range(200)), torch.bfloat16)
different = drift((another_update() for _ in range(200)), torch.bfloat16)
exact = drift((another_update() for _ in range(200)), torch.float32)

# %% tags=["nbval-ignore-output"]
figure, axes = plt.subplots(figsize=(7, 3))
axes.plot(different, label="bfloat16, 200 different adapters")
axes.plot(same, label="bfloat16, the same one 200 times")
axes.plot(exact, label="float32, 200 different adapters")
axes.axhline(apart(W + reader_update, W), color="grey", linestyle=":", label="size of one update")
axes.set_yscale("log")
axes.set_xlabel("merged and unmerged")
axes.set_ylabel("distance from the original")
axes.legend(fontsize=8)
figure.tight_layout()

# %%
print("the same adapter: error of 200 rounds / of the first:", round(same[-1] / same[0], 1))
print("different ones:   error of 200 rounds / of the first, about", round(different[-1] / different[0]))
print("that is more than a fifth of a whole update:", different[-1] > apart(W + reader_update, W) / 5)
print("float32: below 1e-6:", max(exact) < 1e-6)

# %% [markdown]
# Surprised by the flat line? Adding and taking away the *same* number goes wrong once and then never again: where halves
# are rounded to even that is a theorem (Reiser and Knuth, *Evading the drift in floating-point addition*, 1975). Different
# adapters wander off like a drunkard, with the root of the rounds, and after 200 customers a visible part of an update is
# dirt.
#
# So keep the base and add to a **copy**, as your `merge` does. Or don't merge, and let the adapter run beside the weight:
# the workshop's `with_adapter` does that, and switching costs nothing.
#
# ## With the library
#
# In practice hardly anybody writes the loop. The same with `peft` and transformers' `Trainer`, now on **all seven** matrices of a
# layer. Twice: with rank 1 and with rank 8.

# %%
import tempfile

from transformers import Trainer, TrainingArguments

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def train_with_library(rank: int) -> tuple[int, float]:
    """Trained weights and the loss on other tickets; the model is as before afterwards."""
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=ALL, layers_to_transform=list(UPPER))
    torch.manual_seed(0)
    tuned = get_peft_model(model, config)
    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=1,  # one ticket is computed at once,
        gradient_accumulation_steps=TOGETHER,  # and so many make a step, as in our loop
        learning_rate=2e-3,
        lr_scheduler_type="constant",  # by default the rate falls to zero
        num_train_epochs=1,
        logging_steps=2,
        save_strategy="no",
        remove_unused_columns=False,  # keep "logits_to_keep", too
        use_cpu=True,
        report_to=[],  # no tracking service
    )
    Trainer(tuned, arguments, train_dataset=rows, data_collator=lambda batch: tensors(batch[0])).train()
    found = tuned.get_nb_trainable_parameters()[0], dev_loss()
    tuned.unload()
    return found


# %% tags=["nbval-ignore-output"]
swept = {rank: train_with_library(rank) for rank in (1, 8)}
for rank, (number, loss) in swept.items():
    print(f"rank {rank}: {number:9,} trained weights, loss on other tickets {loss:.2f}")
print(f"ours, rank 8, two of seven matrices, another rate: {trained:,} trained weights, loss {with_lora:.2f}")

# %%
print("both learn:", all(loss < 0.8 * untouched for _, loss in swept.values()) or QUICK)
print("trained weights as by formula:", all(n == lora_parameters(every, r, len(UPPER)) for r, (n, _) in swept.items()))
print("the model is as it was:", as_it_was())

# %% [markdown]
# Rank 1: one column and one row for each matrix, and it learns. Which setting is *best* can't be said from so few tickets.
# `workshop bench recipes` has trained each of the next ones on more, and scored what they write.

# %% [markdown]
# ## Which settings matter?
#
# Each row changes **one** thing of the reference: rank 8, all seven matrices, the upper 15 layers, rate 0.001. (Fewer
# matrices get a higher rank, so that the number of trained weights stays about the same.)
#
# > **Predict before you run.** Order these by how much they matter: rank, which matrices, how many layers, learning rate.

# %%
base = recipes["base"]
print(
    f"{recipes['n_train']} tickets to train, {recipes['n_dev']} others to score, untouched model {base['fields']['value']:.2f}"
)


def words(estimate: dict[str, float], form: str = ".2f") -> str:
    return f"{estimate['value']:{form}} [{estimate['low']:{form}}, {estimate['high']:{form}}]"


def table(keys: list[str]) -> None:
    """One line for each run: what it trained, its loss on other tickets, and the share of right fields."""
    print(f"{'':34s}     trained   dev loss   fields right")
    for run in (runs[key] for key in keys):
        name = "reference" if run is lora else run["label"]
        print(f"{name:34s} {run['trainable']:11,}   {run['dev_loss']:6.3f}   {words(run['fields'])}")


for sweep in ("rank", "targets", "layers", "rate"):
    print(f"\n{sweep.upper()}")
    table(recipes["sweeps"][sweep])

# %% tags=["nbval-ignore-output"]
import numpy as np

figure, panels = plt.subplots(1, 2, figsize=(10, 3.2), sharey=True)
for panel, sweep, label in zip(panels, ("rank", "rate"), ("rank", "learning rate"), strict=True):
    swept_runs = sorted((runs[key] for key in recipes["sweeps"][sweep]), key=lambda run, by=sweep: run[by])
    values = np.array([[run["fields"][key] for key in ("value", "low", "high")] for run in swept_runs])
    errors = np.abs(values[:, 1:] - values[:, :1]).T
    panel.errorbar([run[sweep] for run in swept_runs], values[:, 0], errors, marker="o", capsize=3)
    panel.axhline(base["fields"]["value"], color="grey", linestyle=":", label="untouched")
    panel.set_xscale("log")
    panel.set_xlabel(label)
    panel.legend()
panels[0].set_ylabel("share of right fields")
figure.tight_layout()

# %%
reference = runs["r8"]["fields"]
for sweep in ("rank", "targets", "layers", "rate"):
    others = [key for key in recipes["sweeps"][sweep] if key != "r8"]
    worse = [key for key in others if runs[key]["fields"]["high"] < reference["low"]]
    better = [key for key in others if runs[key]["fields"]["low"] > reference["high"]]
    said = f"clearly worse: {', '.join(worse) or 'none'};  clearly better: {', '.join(better) or 'none'}"
    print(f"{sweep:8s} {said}")

# %% [markdown]
# *Clearly* means that the intervals don't overlap: a coarse look, which small differences escape. And look at *rate* before you
# believe the rest: every other row was trained with the reference's rate, and its own best may be another one. What others have
# found, on larger models: adapting all matrices does better than the attention's alone, even with as many trained weights (*LoRA
# Without Regret*, 2025), though the first paper was content with `q_proj` and `v_proj`, and found a rank as small as 1
# enough for its tasks (*LoRA*, arXiv:2106.09685, 2021). If our rows differ from that: one small model, one task, one seed,
# and few tickets to score.
#
# ## All weights, or a small part?
#
# Now the bill. Full fine-tuning with three rates, the best of them beside the reference: same tickets, same number of
# epochs. (Best: by the loss on other tickets. For quality the best LoRA run is compared too, on more tickets: the best of all
# that train at most 2% of the weights, one with all 30 layers and a higher rate among them.)

# %%
table(recipes["sweeps"]["full"])
print()
print(f"{'':26s}{'all weights':>22s}{'LoRA, rank 8':>22s}")
lines = {
    "trained weights": lambda run: f"{run['trainable']:,}",
    "file, MB": lambda run: f"{run['bytes'] / 1e6:.1f}",
    "seconds": lambda run: f"{run['seconds']:.0f}",
    "peak memory, MB": lambda run: f"{run['peak_mb']:.0f}" if run["peak_mb"] else "unknown",
    "fields right": lambda run: words(run["fields"]),
    "loss on other tickets": lambda run: f"{run['dev_loss']:.3f}",
}
for name, show in lines.items():
    print(f"{name:26s}{show(full):>22s}{show(lora):>22s}")

# %%
beside = recipes["full_beside_lora"]
for key, label in (("seconds_ratio", "upper 15 layers"), ("seconds_ratio_all_layers", "all layers")):
    if beside[key]:
        print(f"seconds, all weights / LoRA on {label:16s} {beside[key]:.1f}")
difference = beside["fields_difference"]
print(f"best full minus best LoRA, fields right: {words(difference, '+.2f')}, n={difference['n']}")
best_rate = min((runs[key] for key in recipes["sweeps"]["rate"]), key=lambda run: run["dev_loss"])["rate"]
print(f"best rate of LoRA / best rate of full: {best_rate / full['rate']:.0f} (*LoRA Without Regret*: about 10)")
if full["rate"] == max(runs[key]["rate"] for key in recipes["sweeps"]["full"]):
    print("for all weights the best rate is the highest that was tried: a higher one may be better still")

# %% [markdown]
# Be fair with the seconds: the reference adapts the upper half only, and is spared the way back through the lower one. The
# second ratio is without that advantage. (And full fine-tuning keeps its weights in float32, or small steps would be
# rounded away.)
#
# The file tells most in practice: for each task of a company a file of megabytes beside *one* model, and not a model for
# each. What training all weights breaks elsewhere (*forgetting*) is a matter of lesson 07.
#
# The rules for the verdicts were written down before these runs. What they say, and why:

# %%
for claim, text in {"FM1": "full: costly, rarely done", "FM2": "LoRA: a small part, efficient"}.items():
    found = recipes["verdicts"][claim]
    print(f"{claim}  {text}: {found['verdict']}\n     rule: {found['smallest']}\n     {found['because']}")

# %% [markdown]
# FM2 is two claims in one. *A small part*: yes, by two orders of magnitude. *As good*: here it is not. All weights learnt
# more, but at a rate that breaks more: lesson 07 shows what the same run did to ordinary prose. Others have found LoRA
# level with all weights on small training sets (*LoRA Without Regret*), and below them where there is much to learn (*LoRA
# learns less and forgets less*, arXiv:2405.09673, 2024). A rank of 8 in a model as small as ours has little room, two
# epochs are few, and we have not tried every pair of rank and rate.

# %% [markdown] tags=["instructor"]
# **Question for the room**: "You have 40 departments, each with a task of its own. What do you deploy?" (One base, 40
# adapters; switch by request, don't merge.) **Activity** when there is time: everybody changes one thing of
# `train_with_library` (rank, `target_modules`, rate 0.01) and puts the loss on the board: with so few tickets the spread of
# the board is the lesson.

# %% [markdown]
# ## And a larger model?
#
# What does it take for 7 billion weights? Nobody here can measure it, but arithmetic can say much. A token passes each
# weight once on the way forward: a multiplication and an addition, **2** operations. The way back takes **4** more for
# weights that are trained, and **2** for those that only pass the gradient on. Frozen layers below the lowest adapter need
# no way back at all.
#
# > **Predict before you run.** LoRA trains 1% of the weights. Is it 100 times faster?

# %%
for method, upper, lower in (("all weights", 6, 6), ("LoRA, all layers", 4, 4), ("LoRA, upper half", 4, 2)):
    print(f"{method:18s} {(upper + lower) / 2:.0f} operations for each weight and token")

# %% [markdown]
# Only two thirds, or half: LoRA saves *memory* by a factor, and *time* by a fraction. Each token still has to pass the
# whole model. How much of that has come true here, and what it would mean for 7B:

# %%
cost = recipes["cost"]
for method, label in (("full", "all weights"), ("lora", "LoRA")):
    run = cost[method]
    speed = f"{run['flops_per_second_here'] / 1e9:.0f} billion required operations a second"
    print(f"{label:12s} measured {run['here_seconds']:.0f} s, {speed}")
print(f"all weights / LoRA on the upper half: by counting {6 / 3:.0f}, measured {beside['seconds_ratio']:.1f}")

# %%
seven, tokens = cost["n7"], cost["tokens"]
print(
    f"EXTRAPOLATED, not measured: {seven / 1e9:.0f} billion weights, {cost['tickets']:,} tickets of {tokens:,} tokens in all"
)
for method, label, a_weight in (("full", "all weights", 6), ("lora", "LoRA", 4)):
    operations = a_weight * seven * tokens
    hours = operations / cost[method]["flops_per_second_here"] / 3600
    minutes = operations / cost["gpu_flops_per_second"] / 60
    print(f"{label:12s} {hours:4.0f} hours on a machine like ours, {minutes:4.1f} minutes on one {cost['gpu']}")
print(
    f"memory by your formula, float32, no activations: all weights {training_bytes(seven, seven) / 1e9:.0f} GB",
    end=", ",
)
print(f"LoRA on 1% {training_bytes(seven, seven // 100) / 1e9:.0f} GB")

# %%
found = recipes["verdicts"]["F-1"]
print(
    f"F-1  high cost in data, compute and time: {found['verdict']}\n     rule: {found['smallest']}\n     {found['because']}"
)

# %% [markdown]
# An extrapolation assumes that the larger model reaches the same share of the machine's speed, and that it fits into memory
# at all. It says nothing of the dearest part: somebody has to write and check the examples (lesson 06 asks how many).
#
# ## What you have measured

# %%
print(
    "LoRA in forty lines equals PEFT:  outputs",
    apart(our_logits, peft_logits) < 1e-5,
    " gradients",
    gradients_apart < 1e-5,
)
for claim, text in (
    ("FM1", "full fine-tuning: costly"),
    ("FM2", "LoRA: a small part, efficient"),
    ("F-1", "high cost: data, compute, time"),
):
    print(f"{claim}  {text:31s} {recipes['verdicts'][claim]['verdict']}")

# %% [markdown]
# These verdicts are about a model of 135 million weights, one task, and these tickets. The layer that you wrote is the same
# in a model fifty times as large.
#
# Next: **06_lora_fine_tuning** makes an adapter that is good at something: data, training, looking, scoring.
