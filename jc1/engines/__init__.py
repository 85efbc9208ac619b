"""Engines: what turns a prompt into tokens. `base` holds the seam; `create_engine` picks one by its word in settings.

Knows the list of engines. Knows nothing about requests, memory or presets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jc1.engines.base import Engine
    from jc1.settings import Settings


def create_engine(settings: Settings) -> Engine:
    """The engine that the settings name, not yet started. `auto` is `transformers`. Raises `UnknownModel`."""
    from jc1.engines.base import EngineSettings

    match settings.engine:
        case "echo":
            from jc1.engines.echo import EchoEngine

            return EchoEngine()
        case "auto" | "transformers":
            from jc1.engines.transformers import TransformersEngine
            from jc1.models import resolve

            engine = TransformersEngine(EngineSettings(model=settings.model, dtype=settings.dtype))
            # The name that requests and pages use, known before the weights are loaded.
            engine.model = resolve(settings.model).name
            return engine
