"""What a request costs before its first token: the calls are counted, and none of them is made twice."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from jc1 import Message, Settings, Token, Workbench
from jc1.access.keys import Keys
from jc1.cache.lmdb import LmdbCache
from jc1.database.keys import KeyRepository
from jc1.database.presets import PresetRepository
from jc1.embedding.base import Embedder
from jc1.embedding.cached import CachedEmbedder
from jc1.engines.base import Engine
from jc1.engines.echo import EchoEngine
from jc1.engines.settings import EngineSettings
from jc1.engines.transformers.engine import TransformersEngine
from jc1.memory.base import NewRecord
from jc1.memory.store import DatabaseMemory
from jc1.presets import Presets
from jc1.sessions import Sessions
from jc1.telemetry import Telemetry
from jc1.tokenizer.chat_template import ChatTemplate
from jc1.tools import Toolset
from tests.support.database import new_database


@dataclass
class Calls:
    """What was called so far: the tokens that each tokenization gave, the texts that were embedded, and how often a
    template was rendered."""

    tokenized: list[int] = field(default_factory=list)
    embedded: list[str] = field(default_factory=list)
    renders: int = 0


@asynccontextmanager
async def counting(
    home: Path, engine: Engine, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Workbench, Calls]]:
    """A started workbench over `engine`, and the calls that are made from now on."""
    calls = Calls()
    tokenize, embed, render = engine.tokenize, embedder.embed, ChatTemplate.render

    def tokenized(messages: Sequence[Message], tools: Toolset | None = None) -> list[int]:
        calls.tokenized.append(len(token_ids := tokenize(messages, tools)))
        return token_ids

    def embedded(texts: Sequence[str]) -> Any:
        calls.embedded += texts
        return embed(texts)

    def rendered(*args: Any) -> str:
        calls.renders += 1
        return render(*args)

    monkeypatch.setattr(engine, "tokenize", tokenized)
    monkeypatch.setattr(embedder, "embed", embedded)
    monkeypatch.setattr(ChatTemplate, "render", rendered)
    settings = Settings(home=home, engine="echo")
    settings.prepare_home()
    database = new_database(home / "jc1.db")
    async with Workbench(
        settings,
        engine=engine,
        memory=DatabaseMemory(database, embedder),
        sessions=Sessions(database),
        presets=Presets(PresetRepository(database)),
        keys=Keys(KeyRepository(database)),
        telemetry=Telemetry(),
    ) as workbench:
        yield workbench, calls


async def ask(workbench: Workbench, messages: str | Sequence[Message], **options: Any) -> None:
    """Send a request and leave it at its first token."""
    async with aclosing(workbench.pipeline.stream(messages, **options)) as events:
        await anext(event async for event in events if isinstance(event, Token))


async def test_a_session_and_memories_that_fit_cost_two_tokenizations_and_one_embedding(
    home: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with counting(home, EchoEngine(), embedder, monkeypatch) as (workbench, calls):
        for number in range(60):
            workbench.sessions.append("local", "s", user=f"Question number {number}?", reply="An answer to that.")
        workbench.memory.add("local", [NewRecord(f"Cat {number} is called Ada.") for number in range(12)])
        calls.embedded.clear()
        await ask(workbench, "What is my cat called?", session="s", memory="read")
        without, whole = calls.tokenized
        assert without < whole, "first to see that the history fits, then the prompt with its memories"
        assert calls.embedded == ["What is my cat called?"]


@pytest.mark.parametrize("options", [{"memory": "off"}, {"memory": "read"}], ids=str)
async def test_without_memories_the_prompt_is_tokenized_once(
    options: dict[str, Any], home: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = [Message.user("Hello."), Message.assistant("Hello to you.")] * 60
    async with counting(home, EchoEngine(), embedder, monkeypatch) as (workbench, calls):
        await ask(workbench, [*history, Message.user("How are you?")], **options)
        assert len(calls.tokenized) == 1


async def test_a_history_that_does_not_fit_costs_a_search_among_its_turns(
    home: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = [Message.user("Hello."), Message.assistant("Hello to you.")] * 60
    async with counting(home, EchoEngine(context_length=1000), embedder, monkeypatch) as (workbench, calls):
        await ask(workbench, [*history, Message.user("How are you?")], memory="off")
        assert len(calls.tokenized) <= 2 + 6, "the whole, what may not give way, and a bisection of 59 turns"


async def test_a_message_is_embedded_once_though_it_is_searched_for_and_stored(
    home: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with counting(home, EchoEngine(), embedder, monkeypatch) as (workbench, calls):
        with closing(LmdbCache(home / "cache")) as cache:
            workbench.memory = DatabaseMemory(new_database(home / "jc1.db"), CachedEmbedder(embedder, cache))
            await workbench.pipeline.chat("My cat is called Ada.", max_tokens=6)
        assert calls.embedded == ["My cat is called Ada.", "My cat"]


async def test_the_template_renders_as_often_as_the_prompt_is_tokenized_and_not_again_in_the_engine(
    home: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = TransformersEngine(EngineSettings(model="jc1-tiny"))
    async with counting(home, engine, embedder, monkeypatch) as (workbench, calls):
        await ask(workbench, "Hello.", memory="off")
        assert (len(calls.tokenized), calls.renders) == (1, 1)
        workbench.memory.add("local", [NewRecord("My cat is called Ada.")])
        await ask(workbench, "What is my cat called?", memory="read")
        assert (len(calls.tokenized), calls.renders) == (3, 3)
