"""`/v1/models`: the served model under its own name, and under one name for each preset and alias.

Knows how names are put together; `jc1_api.routes.chat` takes them apart.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import Query, Request
from pydantic import BaseModel, Field

from jc1.errors import UnknownModel
from jc1.workbench import Workbench
from jc1_api.codex_models import CodexModel, codex_model
from jc1_api.deps import TheWorkbench
from jc1_api.routing import Router

router = Router(tags=["models"])


class ModelAbout(BaseModel):
    """What a client may ask of a model: `preset` is what the name stands for, `decoding` the fields it honours."""

    preset: str
    engine: str
    context_length: int = Field(description="Tokens, prompt and reply together.")
    decoding: list[str]
    tools: bool = Field(description="Whether it can be given tools to call.")


class Model(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["jc1"] = "jc1"
    jc1: ModelAbout


class Models(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]
    models: list[CodexModel] = Field(description="The same as Codex reads them.")


@router.get("/v1/models")
async def list_models(
    request: Request,
    workbench: TheWorkbench,
    client_version: Annotated[str | None, Query(description="Accepted, as Codex sends it.")] = None,
) -> Models:
    """List the model, and `model@preset` for each preset and alias."""
    served = await _served(workbench, request.app.state.started)
    tools = workbench.engine.capabilities.tools
    entries = [
        codex_model(
            model.id,
            f"{model.jc1.engine}, preset {model.jc1.preset}",
            place=place,
            context_length=model.jc1.context_length,
            tools=tools,
        )
        for place, model in enumerate(served)
    ]
    return Models(data=served, models=entries)


@router.get("/v1/models/{model:path}")
async def get_model(model: str, request: Request, workbench: TheWorkbench) -> Model:
    """Return one of them."""
    for served in await _served(workbench, request.app.state.started):
        if served.id == model:
            return served
    raise UnknownModel(f"No model {model!r} here: see /v1/models.", param="model")


async def _served(workbench: Workbench, started: int) -> list[Model]:
    """Return the model under each of its names: its own, and one for each preset and alias."""
    presets, aliases = await asyncio.to_thread(lambda: (workbench.presets.list(), workbench.presets.aliases()))
    newest = {preset.name: preset.reference for preset in sorted(presets, key=lambda preset: preset.version)}
    default = workbench.settings.preset
    engine = workbench.engine
    names = {engine.model: {**newest, **aliases}.get(default, default)}
    names |= {f"{engine.model}@{name}": reference for name, reference in {**newest, **aliases}.items()}
    capabilities = engine.capabilities
    return [
        Model(
            id=name,
            created=started,
            jc1=ModelAbout(
                preset=reference,
                engine=engine.name,
                context_length=capabilities.context_length,
                decoding=sorted(capabilities.decoding),
                tools=capabilities.tools,
            ),
        )
        for name, reference in names.items()
    ]
