"""`/v1/keys`: keys for those who may use this server, made, listed, rotated and revoked by who has the scope `admin`.

Knows how requests become calls of `jc1.access.keys`, each in a thread: the store blocks.
"""

from __future__ import annotations

import asyncio
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import Path, Request
from pydantic import BaseModel, Field

from jc1.access.keys import Issued, Key, State
from jc1.access.principal import SCOPES, USUAL_SCOPES, Limits
from jc1.errors import Conflict
from jc1.workbench import Workbench
from jc1_api import idempotency
from jc1_api.deps import TheWorkbench, requires
from jc1_api.errors import named_as_sent
from jc1_api.fields import NAME_LENGTH, Body, Name, Text, Whole
from jc1_api.routing import Router

router = Router(prefix="/v1/keys", tags=["keys"])

MAX_SECONDS = 366 * 24 * 3600
"""The longest time that a request may name: a year."""
MAX_NAMES = 100
ADMIN_ONLY = [requires("admin")]

Seconds = Annotated[Whole, Field(ge=0, le=MAX_SECONDS)]
Names = Annotated[list[Name], Field(max_length=MAX_NAMES)]
KeyId = Annotated[str, Path(min_length=1, max_length=NAME_LENGTH)]


def _limit(name: str) -> Any:
    (limit,) = [it for it in fields(Limits) if it.name == name]
    return Field(None, ge=1, le=2**53, description=limit.metadata["help"])


class KeyLimits(Body):
    """How much a key may ask for; what is left out has no limit."""

    requests_per_minute: Whole | None = _limit("requests_per_minute")
    tokens_per_minute: Whole | None = _limit("tokens_per_minute")
    tokens_per_day: Whole | None = _limit("tokens_per_day")
    concurrent: Whole | None = _limit("concurrent")


class NewKey(Body):
    """A key to be made."""

    owner: Name = Field(description="For whom it acts.")
    name: Annotated[Text, Field(max_length=NAME_LENGTH)] = Field("", description="What it is for.")
    scopes: Annotated[list[Text], Field(max_length=len(SCOPES))] = Field(
        sorted(USUAL_SCOPES), description=f"What it allows, of {', '.join(SCOPES)}."
    )
    limits: KeyLimits = KeyLimits()
    models: Names | None = Field(None, description="The models that it may ask; all when left out.")
    presets: Names | None = Field(None, description="The presets and aliases it may use; all when left out.")
    expires_in: Annotated[Whole, Field(ge=1, le=MAX_SECONDS)] | None = Field(
        None, description="Seconds for which it is good; for ever when left out."
    )


class Rotation(Body):
    """How a key gets a new secret."""

    grace: Seconds = Field(0, description="Seconds for which the secret before is still good.")


class KeyShown(BaseModel):
    """A key. Its secret is not kept."""

    object: Literal["key"] = "key"
    id: str
    owner: str
    name: str
    state: State
    scopes: list[str]
    limits: dict[str, int]
    models: list[str] | None = Field(description="Null is all of them.")
    presets: list[str] | None = Field(description="Null is all of them.")
    created: datetime
    expires: datetime | None
    last_used: datetime | None = Field(description="To the minute.")
    revoked: datetime | None
    grace: datetime | None = Field(description="Until when the secret before the last rotation is good.")


class KeyIssued(KeyShown):
    """A key with its token, which is told this once."""

    key: str = Field(description="What requests show: `Authorization: Bearer ...`.")


class KeyList(BaseModel):
    object: Literal["list"] = "list"
    data: list[KeyShown]


@router.get("", response_model=KeyList, dependencies=ADMIN_ONLY)
async def list_keys(workbench: TheWorkbench) -> dict[str, list[dict[str, Any]]]:
    """List every key that was ever made, the newest first."""
    keys = await asyncio.to_thread(workbench.keys.list)
    return {"data": [key.to_dict() for key in keys]}


@router.post("", status_code=201, response_model=KeyIssued, dependencies=ADMIN_ONLY)
async def create_key(
    body: NewKey, request: Request, workbench: TheWorkbench, idempotency_key: idempotency.Key = None
) -> dict[str, Any]:
    """Make a key. Its token is told this once, so that the same request sent again is refused with the key's id."""
    with named_as_sent({"user": "owner"}):
        issued = await idempotency.once(
            workbench,
            request,
            request.state.principal.owner,
            idempotency_key,
            partial(_create, workbench, body),
            id_of=lambda made: made.key.id,
            again=_made_before,
        )
    return _issued(issued)


@router.get("/{key_id}", response_model=KeyShown, dependencies=ADMIN_ONLY)
async def get_key(key_id: KeyId, workbench: TheWorkbench) -> dict[str, Any]:
    """Return one key."""
    return (await asyncio.to_thread(workbench.keys.get, key_id)).to_dict()


@router.post("/{key_id}/rotate", response_model=KeyIssued, dependencies=ADMIN_ONLY)
async def rotate_key(key_id: KeyId, body: Rotation, workbench: TheWorkbench) -> dict[str, Any]:
    """Give a key a new secret, which is told this once. What it allows stays."""
    grace = timedelta(seconds=body.grace)
    return _issued(await asyncio.to_thread(workbench.keys.rotate, key_id, grace=grace))


@router.delete("/{key_id}", response_model=KeyShown, dependencies=ADMIN_ONLY)
async def revoke_key(key_id: KeyId, workbench: TheWorkbench) -> dict[str, Any]:
    """End a key for good: at once here, and within 5 seconds in other processes on the same database."""
    key: Key = await asyncio.to_thread(workbench.keys.revoke, key_id)
    return key.to_dict()


def _create(workbench: Workbench, body: NewKey) -> Issued:
    lifetime = body.expires_in
    return workbench.keys.create(
        body.owner,
        name=body.name,
        scopes=body.scopes,
        limits=Limits(**body.limits.model_dump()),
        models=body.models,
        presets=body.presets,
        expires=None if lifetime is None else datetime.now(UTC) + timedelta(seconds=lifetime),
    )


def _made_before(key_id: str) -> Issued:
    raise Conflict(f"This request made the key {key_id} before, and its token was told once: rotate it to get another.")


def _issued(issued: Issued) -> dict[str, Any]:
    return {**issued.key.to_dict(), "key": issued.token}
