"""What is asked of a principal before its request runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from jc1 import Settings, Workbench
from jc1.access.guarded import Admitted
from jc1.access.keys import Keys
from jc1.access.principal import ADMIN, Principal
from jc1.database.keys import KeyRepository
from jc1.database.presets import PresetRepository
from jc1.embedding.base import Embedder
from jc1.engines.echo import EchoEngine
from jc1.errors import Refused
from jc1.memory.store import DatabaseMemory
from jc1.presets import Preset, Presets
from jc1.reply import Done
from jc1.sessions import Sessions
from jc1.telemetry import Telemetry
from tests.support.database import new_database


@pytest.fixture
async def workbench(home: Path, embedder: Embedder) -> AsyncIterator[Workbench]:
    settings = Settings(home=home, engine="echo")
    settings.prepare_home()
    database = new_database(home / "jc1.db")
    made = Workbench(
        settings,
        engine=EchoEngine(),
        memory=DatabaseMemory(database, embedder),
        sessions=Sessions(database),
        presets=Presets(PresetRepository(database)),
        keys=Keys(KeyRepository(database)),
        telemetry=Telemetry(),
        embedder=embedder,
    )
    async with made:
        yield made


def holding(*scopes: str, **fields: Any) -> Principal:
    return Principal("ann", frozenset(scopes), **fields)


async def test_a_reply_comes_after_the_word_that_it_was_admitted_and_is_remembered_for_the_principal(
    workbench: Workbench,
) -> None:
    events = [event async for event in workbench.guarded.stream(holding("chat"), "My cat is called Ada.")]
    admitted, done = events[0], events[-1]
    assert isinstance(admitted, Admitted)
    assert isinstance(done, Done)
    assert done.reply.trace.id == admitted.trace.id
    assert [record.text for record in workbench.memory.list("ann").records][-1] == "My cat is called Ada."


async def test_who_lacks_the_scope_neither_chats_nor_embeds(workbench: Workbench) -> None:
    nobody = holding("memory:read")
    with pytest.raises(Refused, match="'chat'"):
        await workbench.guarded.chat(nobody, "Hello.")
    with pytest.raises(Refused, match="'embed'"):
        await workbench.guarded.embed(nobody, ["Hello."])
    assert not workbench.telemetry.recent.list("ann")


async def test_texts_are_embedded_as_memory_embeds_them(workbench: Workbench, embedder: Embedder) -> None:
    vectors = await workbench.guarded.embed(holding("embed"), ["a walrus", "a stone"])
    assert (vectors == embedder.embed(["a walrus", "a stone"])).all()


async def test_a_model_that_is_not_allowed_is_refused_and_one_that_is_answers(workbench: Workbench) -> None:
    with pytest.raises(Refused) as refused:
        await workbench.guarded.chat(holding(ADMIN, models=frozenset({"other"})), "Hello.")
    assert refused.value.param == "model"
    assert (await workbench.guarded.chat(holding("chat", models=frozenset({"echo"})), "Hello.")).text == "Hello."


@pytest.mark.parametrize("preset", ["default", "default@1", "champion", "default@champion"])
async def test_a_preset_may_be_used_by_each_name_that_is_allowed(workbench: Workbench, preset: str) -> None:
    workbench.presets.save(Preset("default"))
    workbench.presets.set_alias("champion", "default@1")
    allowed = holding("chat", presets=frozenset({"default", "champion"}))
    assert (await workbench.guarded.chat(allowed, "Hello.", preset=preset)).text == "Hello."


@pytest.mark.parametrize("preset", [None, "default", "creative@1", "champion", Preset("creative")])
async def test_a_preset_that_is_not_allowed_is_refused_also_where_none_is_named(
    workbench: Workbench, preset: str | Preset | None
) -> None:
    allowed = holding("chat", presets=frozenset({"terse"}))
    with pytest.raises(Refused) as refused:
        await workbench.guarded.chat(allowed, "Hello.", preset=preset)
    assert refused.value.param == "preset"
