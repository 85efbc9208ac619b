"""A causal language model whose weights are shared by all ranks, ZeRO-3.

Knows how DeepSpeed is told to shard, and what each rank then holds. Generating is the parent class's. Knows nothing
about sockets. Importing it imports DeepSpeed (seconds).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import deepspeed
import torch
import torch.distributed as dist
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.integrations import HfDeepSpeedConfig

from jc1.compat.deepspeed import skip_shared_memory
from jc1.engines.transformers.model import LoadedModel
from jc1.tokenizer.tokenizer import Tokenizer


class ShardedModel(LoadedModel):
    """`LoadedModel` on every rank, each with its share of every matrix."""

    def __init__(self, path: Path, *, dtype: str, tokenizer: Tokenizer, cpu_offload: bool) -> None:
        self._offload = cpu_offload
        super().__init__(path, dtype=dtype, tokenizer=tokenizer)
        self.threads = torch.get_num_threads()  # as many as the engine gave each rank

    def _agreed(self, logits: Tensor) -> Tensor:
        """Return rank 0's logits. On some devices the ranks' own differ in the last bit, and one that ended its reply a
        step before the others would leave them waiting for ever."""
        logits = logits.contiguous()
        dist.broadcast(logits, src=0)
        return logits

    def _read(self, path: Path, dtype: str, *, sees: bool = False) -> Any:
        if dtype == "auto":
            # ZeRO-3 makes float32 of weights unless it is told otherwise before they are read.
            dtype = str(AutoConfig.from_pretrained(path, local_files_only=True).dtype or "float32")
            dtype = dtype.removeprefix("torch.")
        if self.device.type == "cpu":
            skip_shared_memory()
        deepspeed.init_distributed("nccl" if self.device.type == "cuda" else "gloo")
        if self.device.type == "cuda":
            self.device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(self.device)
        zero: dict[str, Any] = {"stage": 3, "stage3_param_persistence_threshold": 0}
        if self._offload:
            zero["offload_param"] = {"device": "cpu", "pin_memory": self.device.type == "cuda"}
        config = {
            "zero_optimization": zero,
            "train_micro_batch_size_per_gpu": 1,
            "bf16": {"enabled": dtype == "bfloat16"},
            "fp16": {"enabled": dtype == "float16"},
        }
        # from_pretrained looks for it, and shards while it loads only as long as it is referenced.
        self._config = HfDeepSpeedConfig(config)
        model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, local_files_only=True, trust_remote_code=False)
        self._engine = deepspeed.initialize(model=model, config_params=config)[0]
        return self._engine.module


def parameters_here(model: ShardedModel) -> dict[str, int]:
    """Return how many parameters this rank holds, in how many bytes, and how many the model has."""
    parameters = list(model._model.parameters())
    return {
        "held": sum(p.ds_tensor.numel() for p in parameters),
        "bytes": sum(p.ds_tensor.numel() * p.ds_tensor.element_size() for p in parameters),
        "total": sum(p.ds_numel for p in parameters),
    }
