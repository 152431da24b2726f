"""From examples to an adapter: supervised fine-tuning with LoRA, through transformers and PEFT."""

from workshop_utils.tuning.run import Progress
from workshop_utils.tuning.settings import Settings
from workshop_utils.tuning.supervised import Example, encode_examples, load_examples
from workshop_utils.tuning.trainer import train_adapter, train_full

__all__ = [
    "Example",
    "Progress",
    "Settings",
    "encode_examples",
    "load_examples",
    "train_adapter",
    "train_full",
]
