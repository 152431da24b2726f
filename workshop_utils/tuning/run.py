"""One training, from a prepared model to a saved folder: watched, resumable, stopped in time."""

from __future__ import annotations

import errno
import gc
import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workshop_utils.errors import WorkshopError
from workshop_utils.tuning.attention import short_text_attention
from workshop_utils.tuning.frozen import from_states, frozen_layers
from workshop_utils.tuning.memory import is_out_of_memory, memory_advice, peak_memory
from workshop_utils.tuning.settings import Settings
from workshop_utils.tuning.supervised import IGNORED, Row, TrainingDataError

if TYPE_CHECKING:
    from workshop_utils.tuning.loop import AnswerTrainer


# what a trained folder says of how it was made
REPORT = "training.json"
SAVE_STEPS = 50
# of the frozen layers' output, the most that is kept in memory
KEPT_BYTES = 150_000_000
# trained weights up to so many bytes are copied in each step, to have the last good ones
COPIED_BYTES = 50_000_000
# in a checkpoint: seconds until then; written last, so what has it is complete
CLOCK = "clock.json"


class TrainingError(WorkshopError):
    """Training had to stop; the message says why, what was kept and what to do."""


class LossError(TrainingError):
    """The loss became infinite or not a number."""


class TrainingMemoryError(TrainingError):
    """There is not enough memory for this training."""


class DiskFullError(TrainingError):
    """The disk is full."""


@dataclass(frozen=True)
class Progress:
    """How far training is.

    Attributes:
        step: steps made, of ``steps``.
        loss: of the last step, by learnt token (natural logarithm); NaN before the first.
        dev_loss: the last development loss, if there is one.
        seconds: of training until now, development losses not counted.
        seconds_left: an estimate, which counts them.
        tokens_per_second: tokens of examples, read or learnt.
    """

    step: int
    steps: int
    loss: float
    dev_loss: float | None
    seconds: float
    seconds_left: float
    tokens_per_second: float


Watch = Callable[[Progress], None]


class Run:
    """One training, from prepared model to saved folder."""

    def __init__(
        self,
        model: Any,
        train: Sequence[Row],
        dev: Sequence[Row],
        folder: Path,
        settings: Settings,
        identity: str,
        watch: Watch | None,
        save: Callable[[Path], None],
    ) -> None:
        check_rows(train, dev, model.config.max_position_embeddings)
        self.model, self.train, self.dev, self.folder, self.settings = model, train, dev, folder, settings
        self.watch, self.save, self.prepared = watch, save, 0.0
        self.work = folder.with_name(f"{folder.name}.checkpoints")
        self.trained = [weight for weight in model.parameters() if weight.requires_grad]
        # the same weights in the precision of the optimiser
        self.precise: Sequence[Any] = self.trained
        data = json.dumps([list(train), list(dev), settings.as_dict(), str(model.dtype), identity])
        self.key = hashlib.sha256(data.encode()).hexdigest()

    def __call__(self, *, drop_frozen: bool) -> dict[str, Any]:
        lower: list[Any] = []
        try:
            with short_text_attention(self.model):
                train, dev, lower = self._rows()
                if drop_frozen:
                    lower = []
                    gc.collect()
                return self._fit(train, dev)
        except (MemoryError, RuntimeError, OSError) as error:
            if is_out_of_memory(error):
                raise TrainingMemoryError(memory_advice(self.settings, str(error))) from error
            if is_disk_full(error):
                raise DiskFullError(
                    f"The disk is full: {self.folder} is as it was before. Free some space (a few times the size of "
                    "what is trained) and run the same again: it goes on from its last checkpoint."
                ) from error
            raise
        finally:
            if lower:
                from workshop_utils.tuning.frozen import put_back

                put_back(self.model, lower)

    def _rows(self) -> tuple[list[Any], list[Any], list[Any]]:
        """The rows to train on, those to measure on, and the layers that they have gone through and that are out."""
        from workshop_utils.tuning.frozen import hidden_states, pass_by

        frozen = frozen_layers(self.model)
        size = sum(len(row["labels"]) for row in (*self.train, *self.dev)) * self.model.config.hidden_size
        # in a single epoch there is nothing to save
        if not frozen or self.settings.epochs <= 1 or size * self.model.dtype.itemsize > KEPT_BYTES:
            return list(self.train), list(self.dev), []
        began = time.perf_counter()
        texts = [row["input_ids"] for row in self.train]
        train = from_states(self.train, hidden_states(self.model, texts, frozen, progress=self.watch is None))
        self.prepared = time.perf_counter() - began
        dev = from_states(self.dev, hidden_states(self.model, [row["input_ids"] for row in self.dev], frozen))
        return train, dev, pass_by(self.model, frozen)

    def _fit(self, train: list[Any], dev: list[Any]) -> dict[str, Any]:
        import transformers

        from workshop_utils.tuning.loop import AnswerTrainer, NotFiniteError, adam

        settings = self.settings
        batches = math.ceil(len(train) / settings.batch_size)
        steps = math.ceil(math.ceil(batches / settings.accumulate) * settings.epochs)
        arguments = transformers.TrainingArguments(
            output_dir=str(self.work),
            per_device_train_batch_size=settings.batch_size,
            gradient_accumulation_steps=settings.accumulate,
            num_train_epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=settings.warmup_share,
            # some forty points of the loss
            logging_steps=max(1, steps // 40),
            logging_nan_inf_filter=False,
            save_strategy="steps",
            save_steps=SAVE_STEPS,
            save_total_limit=1,
            eval_strategy=("epoch" if settings.dev_every is None else "steps") if dev else "no",
            eval_steps=settings.dev_every,
            seed=settings.seed,
            use_cpu=self.model.device.type == "cpu",
            dataloader_pin_memory=False,
            ddp_find_unused_parameters=False,
            remove_unused_columns=False,
            label_names=["labels"],
            disable_tqdm=True,
            report_to=[],
        )
        with arguments.main_process_first():
            last = self._last_checkpoint()
        arguments.eval_on_start = bool(dev) and last is None
        tokens = sum(len(row["labels"]) for row in train) * settings.epochs
        observer = _observer(self, tokens, last)
        observer.seconds += self.prepared
        size = sum(weight.numel() * weight.element_size() for weight in self.trained)
        optimiser = adam(self.trained, settings.learning_rate)
        self.precise = optimiser.param_groups[0]["params"]
        trainer = AnswerTrainer(
            self.model,
            train,
            dev,
            keep_good=size <= COPIED_BYTES,
            args=arguments,
            optimizers=(optimiser, None),
            callbacks=[observer],
        )
        observer.trainer = trainer
        trainer.remove_callback(transformers.PrinterCallback)
        with peak_memory() as peak:
            try:
                trainer.train(resume_from_checkpoint=None if last is None else str(last))
            except NotFiniteError as error:
                raise LossError(self._keep_last_good(error, trainer)) from error
            finally:
                observer.close()
        if observer.best.exists():
            self._restore(observer.best)
        seconds = observer.seconds + observer.dev_seconds
        history = trainer.state.log_history
        report = {
            "settings": settings.as_dict(),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "examples": len(train),
            "tokens": round(tokens),
            "learnt_tokens": round(sum(_learnt(row) for row in self.train) * settings.epochs),
            "parameters": sum(weight.numel() for weight in self.trained),
            "steps": trainer.state.global_step,
            "seconds": round(seconds, 1),
            "tokens_per_second": round(
                tokens * trainer.state.global_step / trainer.state.max_steps / observer.seconds, 1
            ),
            "peak_mb": None if peak() is None else round(peak() or 0.0, 1),
            "loss": [[entry["step"], round(entry["loss"], 4)] for entry in history if "loss" in entry],
            "dev_loss": [[entry["step"], round(entry["eval_loss"], 4)] for entry in history if "eval_loss" in entry],
        }
        if trainer.is_world_process_zero():
            self._write(self.folder, report)
            shutil.rmtree(self.work, ignore_errors=True)
        return report

    def _last_checkpoint(self) -> Path | None:
        """The newest complete checkpoint of this very run; what is half written or of another run is removed."""
        mark = self.work / "run.txt"
        if not mark.exists() or mark.read_text("utf-8") != self.key:
            shutil.rmtree(self.work, ignore_errors=True)
            self.work.mkdir(parents=True)
            mark.write_text(self.key, "utf-8")
            return None
        complete = []
        for path in self.work.glob("checkpoint-*"):
            if (path / CLOCK).exists():
                complete.append(path)
            else:
                shutil.rmtree(path)
        return max(complete, key=lambda path: int(path.name.rpartition("-")[2]), default=None)

    def _keep_last_good(self, error: Any, trainer: AnswerTrainer) -> str:
        """Write the weights of the last step that went well beside the folder, and say so."""
        step = trainer.state.global_step
        said = f"The loss became {error.loss} in step {step + 1}. Training stopped; {self.folder} is as it was before. "
        advice = "Lower the learning rate, or look for odd examples."
        shutil.rmtree(self.work, ignore_errors=True)
        if error.good is None:
            return said + f"There are no good weights to keep. {advice}"
        self._set(error.good)
        kept = self.folder.with_name(f"{self.folder.name}.last_good")
        self._write(kept, {"settings": self.settings.as_dict(), "steps": step, "stopped": str(error.loss)})
        return said + f"The last good weights are in {kept}. {advice}"

    def _restore(self, best: Path) -> None:
        from safetensors.torch import load_file

        saved = load_file(best)
        self._set([saved[str(number)] for number in range(len(self.trained))])

    def _set(self, weights: Sequence[Any]) -> None:
        import torch

        with torch.no_grad():
            for weight, good in zip(self.trained, weights, strict=True):
                weight.copy_(good)
        self.precise = self.trained

    def _write(self, folder: Path, report: dict[str, Any]) -> None:
        """Save under another name first: what was in the folder goes only when all of the new is there."""
        from safetensors import SafetensorError

        fresh, old = (folder.with_name(f"{folder.name}.{name}") for name in ("new", "old"))
        for path in (fresh, old):
            shutil.rmtree(path, ignore_errors=True)
        try:
            self.save(fresh)
            (fresh / REPORT).write_text(json.dumps(report, indent=1) + "\n", "utf-8")
        except SafetensorError as error:
            raise OSError(errno.ENOSPC if is_disk_full(error) else errno.EIO, str(error)) from error
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
        shutil.rmtree(old, ignore_errors=True)


def _observer(run: Run, tokens: float, last: Path | None) -> Any:
    """A callback that keeps the clock, shows how far training is, keeps the best weights and stops when it is time."""
    import transformers
    from safetensors.torch import save_file
    from tqdm.auto import tqdm

    class Observer(transformers.TrainerCallback):
        def __init__(self) -> None:
            clock = json.loads((last / CLOCK).read_text("utf-8")) if last else {"seconds": 0.0, "dev_seconds": 0.0}
            self.seconds, self.dev_seconds = clock["seconds"], clock["dev_seconds"]
            self.best = run.work / "best.safetensors"
            self.bar: Any = None
            self.began = self.since = time.perf_counter()
            self.first_step = 0
            self.dev_loss: float | None = None
            self.loss = math.nan
            self.trainer: Any = None

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            self.began = self.since = time.perf_counter()
            self.first_step = state.global_step
            losses = [entry["eval_loss"] for entry in state.log_history if "eval_loss" in entry]
            self.dev_loss = losses[-1] if losses else None
            if run.watch is None and state.is_world_process_zero:
                self.bar = tqdm(desc="Training", total=state.max_steps, initial=state.global_step, unit="step")

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            self._lap("seconds")
            self.loss, self.trainer.step_loss = self.trainer.step_loss, 0.0
            self._tell(state)
            if self.bar is not None:
                self.bar.update()

        def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
            self._lap("dev_seconds")
            self.dev_loss = kwargs["metrics"]["eval_loss"]
            self._tell(state)
            patience = run.settings.patience
            if patience is None:
                return
            losses = [entry["eval_loss"] for entry in state.log_history if "eval_loss" in entry]
            best = losses.index(min(losses))
            if best == len(losses) - 1 and state.is_world_process_zero:
                fresh = self.best.with_suffix(".new")
                save_file({str(n): weight.detach().contiguous() for n, weight in enumerate(run.trained)}, fresh)
                fresh.replace(self.best)
            elif len(losses) - 1 - best >= patience:
                control.should_training_stop = True

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            self._lap("seconds")
            if state.is_world_process_zero:
                clock = json.dumps({"seconds": self.seconds, "dev_seconds": self.dev_seconds})
                (run.work / f"checkpoint-{state.global_step}" / CLOCK).write_text(clock, "utf-8")

        def close(self) -> None:
            if self.bar is not None:
                self.bar.close()

        def _lap(self, name: str) -> None:
            now = time.perf_counter()
            setattr(self, name, getattr(self, name) + now - self.since)
            self.since = now

        def _tell(self, state: Any) -> None:
            if self.bar is not None:
                losses = {"loss": f"{self.loss:.3f}"}
                if self.dev_loss is not None:
                    losses["dev"] = f"{self.dev_loss:.3f}"
                self.bar.set_postfix(losses, refresh=False)
            if run.watch is None or not state.is_world_process_zero:
                return
            passed = time.perf_counter() - self.began
            made, left = state.global_step - self.first_step, state.max_steps - state.global_step
            run.watch(
                Progress(
                    step=state.global_step,
                    steps=state.max_steps,
                    loss=self.loss,
                    dev_loss=self.dev_loss,
                    seconds=self.seconds,
                    seconds_left=passed / made * left if made else math.nan,
                    tokens_per_second=tokens * state.global_step / state.max_steps / max(self.seconds, 1e-9),
                )
            )

    return Observer()


def check_rows(train: Sequence[Row], dev: Sequence[Row], longest: int) -> None:
    """See that there is something to learn, in no more than ``longest`` tokens an example.

    Raises:
        TrainingDataError: the first example that cannot be used, by its number.
    """
    if not train:
        raise TrainingDataError("There are no examples to train on: give at least one.")
    for name, rows in (("training", train), ("development", dev)):
        for number, row in enumerate(rows, start=1):
            if len(row["input_ids"]) != len(row["labels"]):
                raise TrainingDataError(f"The {name} example {number} has not one label for each token.")
            if len(row["input_ids"]) > longest:
                raise TrainingDataError(
                    f"The {name} example {number} has {len(row['input_ids']):,} tokens, and the model reads "
                    f"{longest:,}. Shorten it, cut it in two, or leave it out."
                )
            if not _learnt(row):
                raise TrainingDataError(
                    f"The {name} example {number} has nothing to learn: give it an answer, or leave it out."
                )


def _learnt(row: Row) -> int:
    """Tokens that are learnt; the first of a text is predicted by nothing."""
    return sum(label != IGNORED for label in row["labels"][1:])


def is_disk_full(error: Exception) -> bool:
    # torch and safetensors tell it in their own words: of Linux and macOS, of Windows, of torch.save
    told = ("os error 28", "os error 112", "PytorchStreamWriter failed")
    return getattr(error, "errno", None) == errno.ENOSPC or any(words in str(error) for words in told)
