"""`/v1/presets`: settings that have a name, with what they were measured at and whether this server can serve them.

They are made and moved by `jc1 promote` and `jc1 rollback`; what these do is seen here, and served, within seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

from fastapi import Path, Request
from pydantic import BaseModel, Field

from jc1.access.principal import Principal
from jc1.errors import Jc1Error
from jc1.presets import Preset
from jc1.vision.reading import OcrMode
from jc1.workbench import Workbench
from jc1_api.deps import TheWorkbench
from jc1_api.fields import NAME_LENGTH, Text
from jc1_api.routing import Router

router = Router(prefix="/v1/presets", tags=["presets"])


class Lacking(BaseModel):
    """One setting that the running engine lacks for a preset."""

    needs: Any = Field(description="The preset's value.")
    running: Any = Field(description="The engine's; null where this version has no such setting.")


class PresetShown(BaseModel):
    """One version of a preset, and whether this server can serve it."""

    object: Literal["preset"] = "preset"
    id: str = Field(description="`name@version`, which always means this version.")
    name: str
    version: int = Field(description="0 is one that JC1 ships.")
    aliases: list[str] = Field(description="Those that mean this version now.")
    description: str
    system: str
    decoding: dict[str, Any] = Field(description="What differs from a request that says nothing.")
    retrieval: dict[str, Any]
    engine: dict[str, Any] = Field(description="What the engine must have been started with.")
    ocr: OcrMode | None = Field(description="Whether text in pictures is read; null leaves it to the settings.")
    measured: dict[str, Any] = Field(description="The sweep it comes from and how well it did there; may be empty.")
    servable: bool
    missing: dict[str, Lacking] = Field(description="Engine settings that stand in the way, by name.")
    reason: str | None = Field(description="Why a request with it is refused, and what to do; null where it is not.")


class PresetList(BaseModel):
    object: Literal["list"] = "list"
    data: list[PresetShown]
    aliases: dict[str, str] = Field(description="What each alias means now, as `name@version`.")


Reference = Annotated[Text, Path(min_length=1, max_length=2 * NAME_LENGTH + 1)]


@router.get("", response_model=PresetList)
async def list_presets(request: Request, workbench: TheWorkbench) -> dict[str, Any]:
    """List what the caller may use: versions of presets, shipped ones first, and what the aliases mean."""
    principal: Principal = request.state.principal
    presets, aliases = await asyncio.to_thread(lambda: (workbench.presets.list(), _aliases(workbench, principal)))
    usable = [p for p in presets if principal.may_use(p.reference) or p.reference in aliases.values()]
    return {"data": [_shown(preset, aliases, workbench) for preset in usable], "aliases": aliases}


@router.get("/{reference:path}", response_model=PresetShown)
async def get_preset(reference: Reference, request: Request, workbench: TheWorkbench) -> dict[str, Any]:
    """Return one of them, by name (its newest version), `name@version`, `name@alias` or alias."""
    principal: Principal = request.state.principal
    principal.require_preset(reference)
    preset, aliases = await asyncio.to_thread(
        lambda: (workbench.presets.resolve(reference), _aliases(workbench, principal))
    )
    return _shown(preset, aliases, workbench)


def _aliases(workbench: Workbench, principal: Principal) -> dict[str, str]:
    """Return what those aliases mean that the caller may use."""
    return {alias: to for alias, to in workbench.presets.aliases().items() if principal.may_use(alias)}


def _shown(preset: Preset, aliases: Mapping[str, str], workbench: Workbench) -> dict[str, Any]:
    """Return what a response tells of a preset: not the score of each prompt that it was measured on."""
    reason = None
    try:
        workbench.resolve(preset)
    except Jc1Error as error:
        reason = error.message
    return {
        **asdict(replace(preset, measured=preset.figures)),
        "id": preset.reference,
        "ocr": preset.ocr or None,
        "aliases": [alias for alias, reference in aliases.items() if reference == preset.reference],
        "servable": reason is None,
        "missing": workbench.unmet(preset),
        "reason": reason,
    }
