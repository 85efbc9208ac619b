"""Engine settings: what is fixed when an engine starts, with defaults and what each means.

Knows names, types and words for people; `jc1.settings` adds what values are allowed, `jc1.engines.registry` says which
engine takes which. Imports nothing that takes time: the command line makes its flags from this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

HELP = "help"
"""The key in a field's metadata under which its meaning stands."""


def _means(default: Any, text: str) -> Any:
    return field(default=default, metadata={HELP: text})


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What an engine is made with. Each takes what it has; one that it does not take keeps its default."""

    model: str = _means("jc1-tiny", "A bundled name, a folder, or a Hugging Face hub id.")
    dtype: str = _means("auto", "Precision of the weights: auto, float32, bfloat16 or float16.")
    speculation: str = _means("off", "off, ngram:4, draft:MODEL:3, or another method of vLLM's.")
    tensor_parallel: int = _means(1, "Devices that share each layer.")
    pipeline_parallel: int = _means(1, "Devices that take the layers in turn.")
    gpu_memory_utilization: float = _means(0.9, "Share of a GPU's memory to use.")
    kv_cache_gib: float = _means(0.0, "Size of the KV cache in GiB; 0 lets JC1 choose.")
    kv_cache_dtype: str = _means("auto", "Precision of the KV cache, in vLLM's words.")
    max_model_len: int = _means(0, "Longest prompt and reply, in tokens; 0 is the model's own.")
    quantization: str = _means("", "How the weights are quantized, in vLLM's words; empty is as they say.")
    prefix_caching: bool = _means(True, "Keep the KV cache of prompts that begin alike.")
    guide_seconds: float = _means(5.0, "Seconds that a grammar may take to compile: of a schema, a regex or tools.")
    load_format: str = _means("auto", "How weights are read; dummy gives random ones, for speed runs.")
    engine_args: Mapping[str, Any] = field(
        default_factory=dict, metadata={HELP: "More of the engine's arguments, by its own names."}
    )
    ranks: int = _means(1, "Processes that share the weights.")
    cpu_offload: bool = _means(False, "Keep the weights in main memory and fetch them by layer.")
    base_url: str = _means("", "Where the OpenAI-compatible server is, up to /v1.")
    api_key: str = field(default="", repr=False, metadata={HELP: "Key for that server."})


FIELDS: Mapping[str, Field[Any]] = {setting.name: setting for setting in fields(EngineSettings)}
FLAGS = tuple(name for name in FIELDS if name not in ("engine_args", "api_key"))
"""Those that are flags of a command. A table is no flag, and a secret must not stand on a command line."""


def default_of(name: str) -> Any:
    """Return the default of a field."""
    return getattr(EngineSettings(), name)
