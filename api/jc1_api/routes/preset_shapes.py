"""The bodies of responses about presets, as the schema shows them.

Knows names and types, and what of a preset is told: not the score of each prompt that it was measured on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field

from jc1.errors import Jc1Error
from jc1.presets import Preset
from jc1.requirements import UnmetRequirement
from jc1.workbench import Workbench


class Lacking(BaseModel):
    """One setting that the running engine lacks for a preset."""

    needs: Any = Field(description="The preset's value.")
    running: Any = Field(description="The engine's; null where this version has no such setting.")

    @classmethod
    def of(cls, lacking: UnmetRequirement) -> Lacking:
        return cls(needs=lacking.needs, running=lacking.running)


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
    measured: dict[str, Any] = Field(description="The sweep it comes from and how well it did there; may be empty.")
    servable: bool
    missing: dict[str, Lacking] = Field(description="Engine settings that stand in the way, by name.")
    reason: str | None = Field(description="Why a request with it is refused, and what to do; null where it is not.")

    @classmethod
    def of(cls, preset: Preset, aliases: Mapping[str, str], workbench: Workbench) -> PresetShown:
        reason = None
        try:
            workbench.resolve(preset)
        except Jc1Error as error:
            reason = error.message
        return cls(
            id=preset.reference,
            name=preset.name,
            version=preset.version,
            aliases=[alias for alias, reference in aliases.items() if reference == preset.reference],
            description=preset.description,
            system=preset.system,
            decoding=dict(preset.decoding),
            retrieval=dict(preset.retrieval),
            engine=dict(preset.engine),
            measured=preset.figures,
            servable=reason is None,
            missing={name: Lacking.of(lacking) for name, lacking in workbench.unmet(preset).items()},
            reason=reason,
        )


class PresetList(BaseModel):
    object: Literal["list"] = "list"
    data: list[PresetShown]
    aliases: dict[str, str] = Field(description="What each alias means now, as `name@version`.")
