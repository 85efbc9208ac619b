"""`/v1/presets`: settings that have a name, with what they were measured at and whether this server can serve them.

They are made and moved by `jc1 promote` and `jc1 rollback`; what these do is seen here, and served, within seconds.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Path

from jc1_api.deps import TheWorkbench
from jc1_api.requests import NAME_LENGTH, Text
from jc1_api.routes.preset_shapes import PresetList, PresetShown
from jc1_api.routing import Router

router = Router(prefix="/v1/presets", tags=["presets"])

Reference = Annotated[Text, Path(min_length=1, max_length=2 * NAME_LENGTH + 1)]


@router.get("")
async def list_presets(workbench: TheWorkbench) -> PresetList:
    """Every version of every preset, shipped ones first, and what the aliases mean."""
    presets, aliases = await asyncio.to_thread(lambda: (workbench.presets.list(), workbench.presets.aliases()))
    return PresetList(data=[PresetShown.of(preset, aliases, workbench) for preset in presets], aliases=aliases)


@router.get("/{reference:path}")
async def get_preset(reference: Reference, workbench: TheWorkbench) -> PresetShown:
    """One of them, by name (its newest version), `name@version`, `name@alias` or alias."""
    preset, aliases = await asyncio.to_thread(
        lambda: (workbench.presets.resolve(reference), workbench.presets.aliases())
    )
    return PresetShown.of(preset, aliases, workbench)
