"""Engines: what turns a prompt into tokens. `base` holds the seam; `create_engine` picks one by its word in settings.

Knows the list of engines. Knows nothing about requests, memory or presets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jc1.engines.base import Engine
    from jc1.settings import Settings


def create_engine(settings: Settings) -> Engine:
    """The engine that the settings name, not yet started. `auto` is `transformers`."""
    from jc1.engines.base import EngineSettings

    match settings.engine:
        case "echo":
            from jc1.engines.echo import EchoEngine

            return EchoEngine()
        case "auto" | "transformers":
            from jc1.engines.transformers import TransformersEngine

            return TransformersEngine(EngineSettings(model=settings.model, dtype=settings.dtype))
