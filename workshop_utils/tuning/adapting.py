"""The model to train, with a fresh or a given LoRA adapter; a model that is lent is given back as it was."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workshop_utils.models import device, store
from workshop_utils.models.transformers_chat import WEIGHTS, AdapterError, Engine, check_adapter, misfit
from workshop_utils.tuning.settings import Settings


@contextmanager
def loaded(base: Path | Engine | None) -> Iterator[tuple[Any, bool]]:
    """The model without adapters, and whether it is ours alone; one that was lent is given back as it was."""
    gc.collect()
    device.give_back_memory()
    if isinstance(base, Engine):
        with base.lock:
            model = base.model
            # they are loaded again when somebody asks for them
            unload_adapters(base)
            flags = [weight.requires_grad for weight in model.parameters()]
            try:
                yield model, False
            finally:
                unload_adapters(base)
                for weight, flag in zip(model.parameters(), flags, strict=True):
                    weight.requires_grad_(flag)
                    weight.grad = None
                model.eval()
                gc.collect()
                device.give_back_memory()
        return
    import torch
    import transformers

    place = device.choose()
    # float16 has too small a range for gradients
    dtype = torch.float32 if place.torch_dtype == torch.float16 else place.torch_dtype
    own: Any = transformers.AutoModelForCausalLM.from_pretrained(str(base or store.llm_dir()), dtype=dtype)
    yield own.to(place.name), True
    gc.collect()
    device.give_back_memory()


def unload_adapters(engine: Engine) -> None:
    """Take all adapters out of the model."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    tuned = [(name, layer) for name, layer in engine.model.named_modules() if isinstance(layer, BaseTunerLayer)]
    for name, layer in tuned:
        engine.model.set_submodule(name, layer.get_base_layer())
    engine.model.__dict__.pop("peft_config", None)
    engine.adapters.clear()


def with_adapter(model: Any, settings: Settings, start_from: Path | None) -> Any:
    """The model as a ``PeftModel`` whose fresh (or given) adapter is what is trained, in the model's precision."""
    import peft
    import transformers
    from safetensors.torch import load_file

    # PEFT asks for a name that transformers is giving up
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
    transformers.set_seed(settings.seed)
    if start_from is None:
        layers = model.config.num_hidden_layers
        first = layers - min(settings.upper_layers or layers, layers)
        config = peft.LoraConfig(
            r=settings.rank,
            lora_alpha=2 * settings.rank,
            target_modules=list(settings.targets),
            layers_to_transform=list(range(first, layers)),
            task_type="CAUSAL_LM",
        )
        return peft.get_peft_model(model, config, autocast_adapter_dtype=False)
    check_adapter(start_from)
    config = peft.LoraConfig.from_pretrained(str(start_from))
    config.inference_mode, config.base_model_name_or_path = False, None
    try:
        peft_model = peft.get_peft_model(model, config, autocast_adapter_dtype=False)
        given = load_file(start_from / WEIGHTS)
        fault = misfit(given, peft.get_peft_model_state_dict(peft_model, save_embedding_layers=False))
        if fault is None:
            peft.set_peft_model_state_dict(peft_model, given)
            return peft_model
    except (RuntimeError, ValueError, TypeError) as error:
        fault = str(error).splitlines()[0]
    raise AdapterError(
        f"Training cannot go on from the adapter in {start_from}: it was not trained on this model ({fault}). "
        "Choose the model that it was made for, or begin with a fresh adapter (start_from=None)."
    )
