"""The workbench: what opens without an engine, and in which order the parts are given back."""

import threading
from collections.abc import Sequence
from contextlib import aclosing, closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jc1 import Settings, Workbench
from jc1.access.keys import Keys
from jc1.cli.main import app
from jc1.database import open_database
from jc1.database.keys import KeyRepository
from jc1.database.presets import PresetRepository
from jc1.embedding.base import Embedder
from jc1.engines.echo import EchoEngine
from jc1.errors import InvalidSettings, UnknownModel
from jc1.memory.base import NewRecord, Record
from jc1.memory.store import DatabaseMemory
from jc1.presets import Preset, Presets
from jc1.reply import Token
from jc1.sessions import Sessions
from jc1.telemetry import Telemetry

NO_ENGINE = (
    {"JC1_MODEL": "nonexistent"},
    {"JC1_ENGINE": "openai"},
    {"JC1_RANKS": "2"},
    {"JC1_ENGINE": "deepspeed", "JC1_TENSOR_PARALLEL": "2", "JC1_SPECULATION": "draft:nonexistent:3"},
)
"""Settings with which no engine can be made."""


COMMANDS = (
    "memory list",
    "memory export -",
    "memory forget --all --yes",
    "memory restore --all",
    "memory forget --all --yes",
    "memory purge --now --yes",
    "presets show champion",
    "rollback",
)


@pytest.mark.parametrize("environment", NO_ENGINE, ids=str)
def test_memories_presets_and_rollback_are_there_where_no_engine_can_be(
    environment: dict[str, str], home: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=home)
    settings.prepare_home()
    with closing(DatabaseMemory(open_database(settings.database_url), embedder)) as memory:
        memory.add("local", [NewRecord("My cat is called Ada.")])
    presets = Presets(PresetRepository(open_database(settings.database_url)))
    for temperature in (0.4, 0.8):
        presets.set_alias("champion", presets.save(Preset("warm", decoding={"temperature": temperature})).reference)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises((InvalidSettings, UnknownModel)):
        Workbench.open()
    outputs = {command: CliRunner().invoke(app, command.split(), catch_exceptions=False) for command in COMMANDS}
    assert {command: output.exit_code for command, output in outputs.items()} == dict.fromkeys(COMMANDS, 0)
    assert "My cat is called Ada." in outputs["memory export -"].stdout
    assert "purged: 1 record" in outputs["memory purge --now --yes"].stdout
    assert presets.resolve("champion").reference == "warm@1"


async def test_closing_ends_the_engine_then_what_is_being_stored_then_the_stores(
    home: Path, embedder: Embedder
) -> None:
    settings = Settings(home=home, engine="echo")
    settings.prepare_home()
    database = open_database(settings.database_url)
    order: list[str] = []

    class Engine(EchoEngine):
        async def close(self) -> None:
            await super().close()
            order.append("engine")
            ended.set()

    class Memory(DatabaseMemory):
        def add(self, owner: str, new: Sequence[NewRecord]) -> tuple[Record, ...]:
            assert ended.wait(60)
            order.append("stored")
            return super().add(owner, new)

        def close(self) -> None:
            order.append("memory")
            super().close()

    class Resource:
        def __init__(self, name: str) -> None:
            self.close = lambda: order.append(name)

    ended = threading.Event()
    workbench = Workbench(
        settings,
        engine=Engine(),
        memory=Memory(database, embedder),
        sessions=Sessions(database),
        presets=Presets(PresetRepository(database)),
        keys=Keys(KeyRepository(database)),
        telemetry=Telemetry(),
        resources=[Resource("embedder"), Resource("cache")],
    )
    async with workbench, aclosing(workbench.pipeline.stream("Hello there.")) as events:
        await anext(event async for event in events if isinstance(event, Token))
    assert order == ["engine", "stored", "memory", "embedder", "cache"]
