"""From examples to an adapter: supervised fine-tuning with LoRA, through transformers and PEFT."""

from workshop_utils.tuning.supervised import Example, encode_examples
from workshop_utils.tuning.trainer import Settings, train_adapter

__all__ = ["Example", "Settings", "encode_examples", "train_adapter"]
