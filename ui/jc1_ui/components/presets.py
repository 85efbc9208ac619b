"""Presets on a page: what is offered to choose from, and the controls as the chosen one sets them.

Knows how presets and aliases are called here, and where the running engine stands in the way. Knows nothing about when
a page asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from jc1.decoding import Decoding
from jc1.errors import UnknownPreset
from jc1.requirements import describe
from jc1_ui.components import controls

if TYPE_CHECKING:
    from jc1.workbench import Workbench


def choices(workbench: Workbench) -> list[tuple[str, str]]:
    """Label and reference of every preset and alias, with what the running engine lacks for it."""
    presets = {preset.reference: preset for preset in workbench.presets.list()}
    moving = workbench.presets.aliases()
    own = workbench.settings.preset
    with suppress(UnknownPreset):  # A message with it will say so.
        if own not in presets and (newest := workbench.presets.resolve(own)).version:
            moving.setdefault(own, newest.reference)
    needs = {reference: describe(workbench.unmet(preset)) for reference, preset in presets.items()}
    suffix = {reference: f", needs {lacking}" if lacking else "" for reference, lacking in needs.items()}
    return [
        *((f"{ref if it.version else it.name}{suffix[ref]}", ref) for ref, it in presets.items()),
        *((f"{name} ({ref}{suffix.get(ref, '')})", name) for name, ref in moving.items()),
    ]


def fitted(workbench: Workbench, reference: str | None, moved: Mapping[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """What the preset means now, as a page keeps it: its `preset` and what the controls show for it; and the updates of
    the controls, which leave those that were `moved` where they are. Raises what a request with it would raise.
    """
    preset = workbench.presets.resolve(reference or workbench.settings.preset)
    workbench.resolve(preset)
    values = controls.values_of(Decoding.parse(preset.decoding))
    updates = controls.show(
        {**values, **moved}, workbench.engine.capabilities, most_tokens=workbench.settings.max_reply_tokens
    )
    return {"preset": preset.reference, **values}, updates
