"""`/v1/models`: the served model under its own name and one for each preset and alias, and what embeds, hears, speaks.

A caller is shown what it may use.

Knows how names are put together; `jc1_api.replies` takes them apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Literal

from fastapi import Query, Request
from pydantic import BaseModel, Field

from jc1.access.principal import Principal
from jc1.errors import EmbedderUnavailable, SpeechUnavailable, UnknownModel
from jc1.workbench import Workbench
from jc1_api.codex_models import CodexModel, codex_model
from jc1_api.deps import TheWorkbench
from jc1_api.routing import Router

router = Router(tags=["models"])

Task = Literal["chat", "completion", "embedding", "transcription", "speech"]


class ModelAbout(BaseModel):
    """What a client may ask of a model."""

    tasks: list[Task] = Field(
        description="What it is for: /v1/chat/completions, /v1/responses and /v1/messages; /v1/completions; "
        "/v1/embeddings; /v1/audio/transcriptions; or /v1/audio/speech."
    )
    preset: str | None = Field(None, description="What the name stands for.")
    engine: str | None = None
    context_length: int | None = Field(None, description="Tokens, prompt and reply together.")
    decoding: list[str] = Field([], description="The fields that it honours.")
    tools: bool = Field(False, description="Whether it can be given tools to call.")
    modalities: list[str] = Field([], description="What it reads: `text`, and `image` where it sees.")
    dimensions: int | None = Field(None, description="The length of its vectors, where it embeds.")
    languages: list[str] | None = Field(None, description="Those it understands, where it hears; empty is not known.")
    translates: bool = Field(False, description="Whether it hears other languages and writes English.")
    voices: list[str] | None = Field(None, description="Those it has, where it speaks; empty is not known.")


class Model(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["jc1"] = "jc1"
    jc1: ModelAbout


class Models(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]
    models: list[CodexModel] = Field(description="Those for chat as Codex reads them.")


@router.get("/v1/models")
async def list_models(
    request: Request,
    workbench: TheWorkbench,
    client_version: Annotated[str | None, Query(description="Accepted, as Codex sends it.")] = None,
) -> Models:
    """List what the caller may use: the model, `model@preset` for each preset and alias, what embeds, hears, speaks."""
    served = await _served(workbench, request)
    capabilities = workbench.engine.capabilities
    entries = [
        codex_model(
            model.id,
            f"{model.jc1.engine}, preset {model.jc1.preset}",
            place=place,
            context_length=capabilities.context_length,
            tools=capabilities.tools,
            modalities=sorted(capabilities.modalities, reverse=True),
        )
        for place, model in enumerate(model for model in served if "chat" in model.jc1.tasks)
    ]
    return Models(data=served, models=entries)


@router.get("/v1/models/{model:path}")
async def get_model(model: str, request: Request, workbench: TheWorkbench) -> Model:
    """Return one of them."""
    for served in await _served(workbench, request):
        if served.id == model:
            return served
    raise UnknownModel(f"No model {model!r} here: see /v1/models.", param="model")


async def _served(workbench: Workbench, request: Request) -> list[Model]:
    principal: Principal = request.state.principal
    created: int = request.app.state.started
    names = await asyncio.to_thread(_names, workbench, principal) if principal.may_ask(workbench.engine.model) else {}
    others = (model for part in (_embedding, _hearing, _speaking) for model in part(workbench))
    models = [*_chatting(workbench, names), *(other for other in others if principal.may_ask(other[0]))]
    return [Model(id=name, created=created, jc1=about) for name, about in models]


def _names(workbench: Workbench, principal: Principal) -> dict[str, str]:
    """Return each name of the model that the caller may use, and the reference of the preset that it stands for."""
    presets, aliases = workbench.presets.list(), workbench.presets.aliases()
    newest = {preset.name: preset.reference for preset in sorted(presets, key=lambda preset: preset.version)}
    model, default = workbench.engine.model, workbench.settings.preset
    versions = {preset.reference for preset in presets} & (principal.presets or set())
    known = {**newest, **aliases, **{reference: reference for reference in versions}}
    own = {model: known.get(default, default)} if principal.may_use(default) else {}
    return own | {f"{model}@{name}": reference for name, reference in known.items() if principal.may_use(name)}


def _chatting(workbench: Workbench, names: Mapping[str, str]) -> Iterator[tuple[str, ModelAbout]]:
    engine = workbench.engine
    tasks: list[Task] = ["chat", "completion"] if engine.capabilities.raw else ["chat"]
    for name, reference in names.items():
        yield (
            name,
            ModelAbout(
                tasks=tasks,
                preset=reference,
                engine=engine.name,
                context_length=engine.capabilities.context_length,
                decoding=sorted(engine.capabilities.decoding),
                tools=engine.capabilities.tools,
                modalities=sorted(engine.capabilities.modalities),
            ),
        )


def _embedding(workbench: Workbench) -> Iterator[tuple[str, ModelAbout]]:
    with suppress(EmbedderUnavailable):
        embedder = workbench.embedder
        yield embedder.model, ModelAbout(tasks=["embedding"], dimensions=embedder.dimension)


def _hearing(workbench: Workbench) -> Iterator[tuple[str, ModelAbout]]:
    with suppress(SpeechUnavailable):
        ears = workbench.ears
        yield (
            ears.model,
            ModelAbout(tasks=["transcription"], languages=list(ears.languages), translates=ears.translates),
        )


def _speaking(workbench: Workbench) -> Iterator[tuple[str, ModelAbout]]:
    with suppress(SpeechUnavailable):
        voice = workbench.voice
        yield voice.model, ModelAbout(tasks=["speech"], voices=list(voice.voices))
