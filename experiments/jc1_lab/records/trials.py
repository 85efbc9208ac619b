"""A trial: the settings that one point of a sweep's space stands for.

Knows which settings a sweep may vary, and how they become a preset. Knows nothing about where they come from or how
well they do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from jc1.decoding import Decoding
from jc1.engines.settings import EngineSettings
from jc1.presets import Preset
from jc1.prompt import DEFAULT_SYSTEM
from jc1.request import resolve

if TYPE_CHECKING:
    from jc1.settings import Settings

ENGINE_FIELDS = tuple(field.name for field in fields(EngineSettings) if field.name != "api_key")


class TrialSettings(BaseModel):
    """What a trial sets; what it leaves out is as JC1 has it by default.

    `decoding` holds fields of `Decoding`, `retrieval` those of `Retrieval` (no memory is `k` 0), `engine` those of
    `EngineSettings` under which it was measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    decoding: dict[str, Any] = Field(default_factory=dict)
    system: str = DEFAULT_SYSTEM
    retrieval: dict[str, Any] = Field(default_factory=dict)
    engine: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def of(cls, preset: Preset) -> TrialSettings:
        """Return the settings that a preset holds, but for a seed: a sweep gives every request its own."""
        return cls(
            decoding={name: value for name, value in preset.decoding.items() if name != "seed"},
            system=preset.system,
            retrieval=dict(preset.retrieval),
            engine=dict(preset.engine),
        )

    def preset(self, name: str, **more: Any) -> Preset:
        """Return these settings as a preset that is not saved yet; `more` are further fields of `Preset`."""
        return Preset(
            name,
            system=self.system,
            decoding=self.decoding,
            retrieval=self.retrieval,
            engine=self.engine,
            **more,
        )

    @property
    def samples(self) -> bool:
        """Return whether tokens are drawn: then another seed gives another answer."""
        return Decoding.parse(self.decoding).temperature > 0

    def repeats(self, repeats: int) -> int:
        """Return how often each prompt is asked: once where the answer would be the same again."""
        return repeats if self.samples else 1

    def key(self, settings: Settings) -> str:
        """Return the same text for trials that mean the same under these settings, however they are written."""
        resolved = resolve(self.preset("trial"), settings)
        meant = {
            "decoding": resolved.decoding.model_dump(mode="json"),
            "system": resolved.system,
            "retrieval": asdict(resolved.retrieval),
            "engine": engine_key(settings, self.engine),
        }
        return orjson.dumps(meant, option=orjson.OPT_SORT_KEYS).decode()

    def flat(self) -> dict[str, Any]:
        """Return every setting under one name, as in tables and plots: `temperature`, `memory.k`, `engine.dtype` ..."""
        named: dict[str, Any] = dict(self.decoding)
        if self.system != DEFAULT_SYSTEM:
            named["system"] = self.system
        named |= {f"memory.{name}": value for name, value in self.retrieval.items()}
        return named | {f"engine.{name}": value for name, value in self.engine.items()}

    def label(self, beside: TrialSettings | None = None) -> str:
        """Return the settings in a line, or only those that differ from `beside`."""
        flat = self.flat()
        if beside is None:
            return " ".join(f"{name}={_short(value)}" for name, value in flat.items()) or "JC1's defaults"
        other = beside.flat()
        standard = Decoding().model_dump()
        names = [
            name
            for name in {**flat, **other}
            if flat.get(name, standard.get(name)) != other.get(name, standard.get(name))
        ]
        parts = [f"{name}={_short(flat[name])}" if name in flat else f"{name} by default" for name in names]
        return " ".join(parts) or "as the baseline"


def engine_key(settings: Settings, engine: Mapping[str, Any]) -> str:
    """Return the same text for all `engine` settings, laid over `settings`, that one started engine serves."""
    merged = settings.model_copy(update=dict(engine))
    named = {name: getattr(merged, name) for name in ("engine", *ENGINE_FIELDS)}
    return orjson.dumps(named, option=orjson.OPT_SORT_KEYS).decode()


def _short(value: Any) -> str:
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else f"{text[:23]}…"
