"""Unmet requirements: the engine settings that a preset needs and the running engine was not started with.

Knows how settings are compared and how `jc1 serve` is given them. Which fields of `Decoding` are honoured, the running
engine says itself.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jc1.engines.settings import FLAGS
from jc1.models import unambiguous
from jc1.presets import REQUIREMENTS, Preset

if TYPE_CHECKING:
    from jc1.engines.base import Engine
    from jc1.settings import Settings


@dataclass(frozen=True, slots=True)
class UnmetRequirement:
    """What a preset needs of one setting and what `running` has instead; `known` is False where this JC1 has no such
    setting."""

    needs: Any
    running: Any = None
    known: bool = True


def unmet(preset: Preset, settings: Settings, engine: Engine) -> dict[str, UnmetRequirement]:
    """Return what `engine`, started with `settings`, lacks for `preset`, by setting; empty where it lacks nothing."""
    result = {name: UnmetRequirement(None, known=False) for name in preset.unread}
    for name, needed in preset.engine.items():
        if name not in REQUIREMENTS:
            result[name] = UnmetRequirement(needed, known=False)
        elif not _fits(name, needed, settings, engine):
            # As `jc1 config` shows it: some values hold secrets.
            running = {"engine": engine.name, "model": engine.model}.get(name, settings.shown()[name])
            result[name] = UnmetRequirement(needed, running)
    return result


def _fits(name: str, needed: Any, settings: Settings, engine: Engine) -> bool:
    """Return whether a value of a setting means what runs."""
    if name == "engine":
        return needed in (engine.name, "auto")
    if name == "model":
        return needed in (engine.model, settings.model) or needed == unambiguous(settings.model)
    return bool(needed == getattr(settings, name))


def describe(unmet: Mapping[str, UnmetRequirement]) -> str:
    """Return what is missing in a few words: `speculation=ngram:4`."""
    return ", ".join(f"{name}={_text(it.needs)}" if it.known else name for name, it in unmet.items())


def refusal(preset: Preset, unmet: Mapping[str, UnmetRequirement]) -> str:
    """Return why `preset` cannot be served, with the next step."""
    if unknown := [name for name, it in unmet.items() if not it.known]:
        names = ", ".join(map(repr, unknown))
        return (
            f"The preset {preset.reference} asks for {names}, which this version of JC1 does not know: update JC1, or "
            "choose another preset."
        )
    needs = ", ".join(f"{name}={_text(it.needs)} (running: {_text(it.running)})" for name, it in unmet.items())
    given = " ".join(_given(name, it.needs) for name, it in unmet.items())
    return f"The preset {preset.reference} needs {needs}: start JC1 with {given}, or choose another preset."


def _given(name: str, value: Any) -> str:
    """Return how `jc1 serve` is given a setting: by its flag where it has one, else by the environment."""
    flag = name.replace("_", "-")
    if isinstance(value, bool) and name in FLAGS:
        return f"--{flag}" if value else f"--no-{flag}"
    text = shlex.quote(_text(value))
    return f"--{flag} {text}" if name in FLAGS or name == "engine" else f"JC1_{name.upper()}={text}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, default=str)
