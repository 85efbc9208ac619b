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
    from jc1.access.principal import Principal
    from jc1.workbench import Workbench


def choices(workbench: Workbench, principal: Principal) -> list[tuple[str, str]]:
    """Return label and reference of each preset and alias that somebody may use, with what the engine lacks for it."""
    presets = {preset.reference: preset for preset in workbench.presets.list()}
    aliases = workbench.presets.aliases()
    default = workbench.settings.preset
    with suppress(UnknownPreset):  # A message with it will say so.
        if default not in presets and (newest := workbench.presets.resolve(default)).version:
            aliases.setdefault(default, newest.reference)
    needs = {reference: describe(workbench.unmet(preset)) for reference, preset in presets.items()}
    suffix = {reference: f", needs {lacking}" if lacking else "" for reference, lacking in needs.items()}
    offered = [
        *((f"{ref if it.version else it.name}{suffix[ref]}", ref) for ref, it in presets.items()),
        *((f"{name} ({ref}{suffix.get(ref, '')})", name) for name, ref in aliases.items()),
    ]
    return [(label, reference) for label, reference in offered if principal.may_use(reference)]


def fit_controls(
    workbench: Workbench, principal: Principal, reference: str | None, changes: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Any]]:
    """Return the controls as the preset sets them now.

    Args:
        workbench: Where presets are, and the engine that has to serve them.
        principal: Who looks at the page.
        reference: A preset's or alias's; `None` is the settings' own.
        changes: What the visitor set, by field: these stay.

    Returns:
        The baseline that a page keeps (the `preset` and its value for each field), and the updates of the controls.

    Raises:
        Jc1Error: What a request with the preset would raise.
    """
    named = reference or workbench.settings.preset
    principal.require_preset(named)
    preset = workbench.presets.resolve(named)
    workbench.resolve(preset)
    values = controls.values_of(Decoding.parse(preset.decoding))
    updates = controls.show(
        {**values, **changes}, workbench.engine.capabilities, max_tokens=workbench.settings.max_reply_tokens
    )
    return {"preset": preset.reference, **values}, updates
