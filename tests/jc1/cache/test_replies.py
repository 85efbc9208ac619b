"""Replies that are not written again: which, for whom, how exactly, and what makes an engine be asked anew."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jc1 import Decoding, Message, Settings, Workbench
from jc1.access.keys import Keys
from jc1.cache import create_cache
from jc1.cache.lmdb import LmdbCache
from jc1.cache.namespaces import REPLY, owned
from jc1.cache.replies import ReplyCache
from jc1.database.keys import KeyRepository
from jc1.database.presets import PresetRepository
from jc1.embedding.base import Embedder
from jc1.engines.base import EnginePrompt, Step
from jc1.engines.echo import EchoEngine
from jc1.engines.settings import EngineSettings
from jc1.engines.transformers.engine import TransformersEngine
from jc1.errors import EngineFailed
from jc1.memory.store import DatabaseMemory
from jc1.messages import ImagePart, TextPart
from jc1.models import BUNDLED
from jc1.presets import Presets
from jc1.reply import Done, Event, Token
from jc1.sessions import Sessions
from jc1.telemetry import Telemetry
from jc1.trace import Trace, Usage
from tests.support.database import new_database


class Counted(EchoEngine):
    """The echo engine, counting how often it is asked."""

    asked = 0
    breaks = False

    async def generate(self, prompt: EnginePrompt, decoding: Decoding) -> AsyncGenerator[Step, None]:
        self.asked += 1
        async with aclosing(super().generate(prompt, decoding)) as steps:
            async for step in steps:
                if self.breaks and step.token_ids == (ord("!"),):
                    raise EngineFailed("It broke: send the request again.")
                yield step


Make = Callable[..., Workbench]


@pytest.fixture
def make(home: Path, embedder: Embedder) -> Make:
    """Makes a workbench over the test's home, with a `Counted` engine."""

    def made(**fields: Any) -> Workbench:
        settings = Settings(home=home, engine="echo", **{"cache_replies": 3600, **fields})
        settings.prepare_home()
        database, cache = new_database(home / "jc1.db"), create_cache(settings)
        replies = ReplyCache(cache, settings)
        return Workbench(
            settings,
            engine=Counted(),
            memory=DatabaseMemory(database, embedder),
            sessions=Sessions(database, cache=cache, on_delete=replies.forget),
            presets=Presets(PresetRepository(database)),
            keys=Keys(KeyRepository(database)),
            telemetry=Telemetry(cache=cache),
            replies=replies,
            resources=(cache,),
        )

    return made


@pytest.fixture
async def workbench(make: Make) -> AsyncIterator[Workbench]:
    async with make() as made:
        yield made


def asked(workbench: Workbench) -> int:
    assert isinstance(workbench.engine, Counted)
    return workbench.engine.asked


async def collect(workbench: Workbench, text: str, **options: Any) -> list[Event]:
    return [event async for event in workbench.pipeline.stream(text, memory="off", **options)]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"temperature": 0.9, "seed": 7},
        {"temperature": 0.9, "seed": 7, "n": 3},
        {"beam_width": 3, "n": 2},
        {"max_tokens": 4},
        {"stop": ["wor"]},
    ],
    ids=str,
)
async def test_the_second_reply_is_the_first_one_event_by_event(workbench: Workbench, fields: dict[str, Any]) -> None:
    text = "Hello, wörld 🙂\nand all!"
    first, second = [await collect(workbench, text, **fields) for _ in range(2)]
    assert asked(workbench) == 1
    assert second[:-1] == first[:-1]
    assert isinstance(first[-1], Done)
    assert isinstance(second[-1], Done)
    one, two = first[-1].reply, second[-1].reply
    assert two.choices == one.choices
    assert (two.trace.usage, two.trace.finish_reason) == (one.trace.usage, one.trace.finish_reason)
    assert two.trace.scores == one.trace.scores
    assert (one.trace.cached, two.trace.cached) == (False, True)
    assert two.trace.to_dict()["cached"] is True
    assert two.trace.tokens_per_second is None
    assert list(two.trace.stages) == list(one.trace.stages)


async def test_replies_with_chance_in_them_or_log_probabilities_are_not_kept(workbench: Workbench) -> None:
    for fields in ({"temperature": 0.5}, {"logprobs": 2}, {"temperature": 0.5, "seed": 1, "logprobs": 0}):
        for _ in range(2):
            assert not (await workbench.pipeline.chat("Hello.", memory="off", **fields)).trace.cached
    assert asked(workbench) == 6


async def test_a_seed_is_trusted_only_where_the_engine_says_so(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Counted, "repeats_seeds", False)
    for _ in range(2):
        await workbench.pipeline.chat("Hello.", memory="off", temperature=0.5, seed=1)
    assert asked(workbench) == 2


async def test_every_field_of_decoding_and_every_word_of_the_prompt_makes_another_request(workbench: Workbench) -> None:
    others: dict[str, Any] = {
        "max_tokens": 9, "min_tokens": 2, "temperature": 0.5, "top_k": 5, "top_p": 0.5, "min_p": 0.1,
        "repetition_penalty": 1.1, "presence_penalty": 0.1, "frequency_penalty": 0.1, "logit_bias": {65: 1.0},
        "seed": 2, "n": 2, "beam_width": 2, "length_penalty": 0.5, "stop": ("x",), "logprobs": 1,
        "json_schema": {"type": "object"}, "regex": "a", "choice": ("a",),
    }  # fmt: skip
    assert others.keys() == Decoding.model_fields.keys()
    engine, replies = workbench.engine, workbench.replies
    plain = Decoding.model_construct()

    def key(messages: tuple[Message, ...], token_ids: tuple[int, ...] = (1,), decoding: Decoding = plain) -> bytes:
        made = replies._key(engine, EnginePrompt(messages, token_ids), decoding)
        assert made is not None
        return made

    said = (Message.user("a"),)
    keys = [key(said, decoding=plain.model_copy(update={name: value})) for name, value in others.items()]
    keys += [
        key(said),
        key(said, (2,)),
        key((Message.user("b"),)),
        key((Message.assistant("a"),)),
        key((Message.user((TextPart("a"),)),)),
        key((Message.user((TextPart("a"), ImagePart(b"1", "image/png"))),)),
        key((Message.user((TextPart("a"), ImagePart(b"2", "image/png"))),)),
        key((Message.system("s"), *said)),
    ]
    assert len(set(keys)) == len(keys)
    assert key(said) == keys[len(others)]


@pytest.mark.parametrize(
    "fields",
    [
        {"dtype": "bfloat16"}, {"quantization": "fp8"}, {"speculation": "ngram:2"}, {"tensor_parallel": 2},
        {"max_model_len": 512}, {"engine_args": {"seed": 2}},
    ],
    ids=str,
)  # fmt: skip
def test_an_engine_that_was_started_otherwise_has_replies_of_its_own(tmp_path: Path, fields: dict[str, Any]) -> None:
    engine, prompt = EchoEngine(), EnginePrompt((Message.user("a"),), (1,))
    cache = LmdbCache(tmp_path / "cache")
    one, other = (ReplyCache(cache, Settings(home=tmp_path, cache_replies=1, **more)) for more in ({}, fields))
    assert one._key(engine, prompt, Decoding()) != other._key(engine, prompt, Decoding())
    cache.close()


async def test_what_one_owner_was_told_no_other_is_told_again(workbench: Workbench) -> None:
    await workbench.pipeline.chat("Hello.", owner="ann", memory="off")
    assert not (await workbench.pipeline.chat("Hello.", owner="bob", memory="off")).trace.cached
    assert (await workbench.pipeline.chat("Hello.", owner="ann", memory="off")).trace.cached


async def test_forgetting_an_owners_replies_leaves_the_others(workbench: Workbench) -> None:
    for owner in ("ann", "bob"):
        await workbench.pipeline.chat("Hello.", owner=owner, memory="off")
    workbench.replies.forget("ann")
    assert not (await workbench.pipeline.chat("Hello.", owner="ann", memory="off")).trace.cached
    assert (await workbench.pipeline.chat("Hello.", owner="bob", memory="off")).trace.cached


async def test_a_deleted_sessions_replies_are_forgotten(workbench: Workbench) -> None:
    await workbench.pipeline.chat("Hello.", session="s", memory="off")
    workbench.sessions.delete("local", "s")
    assert not (await workbench.pipeline.chat("Hello.", session="s", memory="off")).trace.cached
    workbench.sessions.delete("local", "s")


async def test_a_reply_under_way_while_its_owner_forgets_is_not_kept(workbench: Workbench) -> None:
    async for event in workbench.pipeline.stream("Hello.", memory="off"):
        if isinstance(event, Token):
            workbench.replies.forget("local")
    assert not (await workbench.pipeline.chat("Hello.", memory="off")).trace.cached


async def test_cancelled_and_failed_replies_are_not_kept(workbench: Workbench) -> None:
    stream = workbench.pipeline.stream("Hello!", memory="off")
    while not isinstance(await anext(stream), Token):
        pass
    await stream.aclose()
    assert isinstance(workbench.engine, Counted)
    workbench.engine.breaks = True
    with pytest.raises(EngineFailed):
        await workbench.pipeline.chat("Hello!", memory="off")
    workbench.engine.breaks = False
    reply = await workbench.pipeline.chat("Hello!", memory="off")
    assert (reply.text, reply.trace.cached, asked(workbench)) == ("Hello!", False, 3)


async def test_recalled_memories_are_a_part_of_the_prompt_and_a_turn_is_remembered_either_way(
    workbench: Workbench,
) -> None:
    first = await workbench.pipeline.chat("What is my cat called?", memory="read")
    assert (await workbench.pipeline.chat("What is my cat called?", memory="read", session="s")).trace.cached
    assert [turn.user for turn in workbench.sessions.history("local", "s")] == ["What is my cat called?"]
    await workbench.pipeline.chat("My cat is called Ada.")
    again = await workbench.pipeline.chat("What is my cat called?", memory="read")
    assert not first.trace.recalled
    assert again.trace.recalled
    assert not again.trace.cached


async def test_nothing_is_kept_unless_it_is_asked_for(make: Make) -> None:
    async with make(cache_replies=0) as workbench:
        for _ in range(2):
            assert not (await workbench.pipeline.chat("Hello.", memory="off")).trace.cached


async def test_an_engine_that_cannot_tell_its_model_keeps_nothing(workbench: Workbench) -> None:
    def logits(token_ids: Any) -> list[float]:
        return [0.0] * 256 + [1.0]

    workbench.engine = Counted(logits=logits)
    await workbench.engine.start()
    for _ in range(2):
        await workbench.pipeline.chat("Hello.", memory="off")
    assert asked(workbench) == 2


async def test_what_cannot_be_read_is_written_anew(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    await workbench.pipeline.chat("Hello.", memory="off")
    cache = workbench.replies.cache
    for damaged in (b"", b"{}x", b"[[1]]", b"null", b"[]"):
        monkeypatch.setattr(cache, "get", lambda namespace, key, damaged=damaged: damaged)
        reply = await workbench.pipeline.chat("Hello.", memory="off")
        assert (reply.text, reply.trace.cached) == ("Hello.", False)


async def test_everything_a_step_says_but_its_times_is_kept(tmp_path: Path) -> None:
    steps = [
        Step(0, "", (9,), reasoning="hm", seconds={"queue": 0.1, "prefill": 0.2}),
        Step(0, "a", (1, 2)),
        Step(1, "", (3,), "length", score=-0.1234567890123),
        Step(0, "b\0é", (), "stop", stop="\n", speculation={"by_position": [0.5], "fired": True}, usage=Usage(3, 4)),
    ]

    class Scripted(EchoEngine):
        async def generate(self, prompt: EnginePrompt, decoding: Decoding) -> AsyncGenerator[Step, None]:
            for step in steps:
                yield step

    cache, engine = LmdbCache(tmp_path / "cache"), Scripted()
    replies = ReplyCache(cache, Settings(home=tmp_path, cache_replies=60))
    await engine.start()
    prompt, decoding = EnginePrompt((Message.user("a"),), (1,)), Decoding(n=2, beam_width=2)
    got = [[step async for step in replies.generate(engine, prompt, decoding, Trace(owner="ann"))] for _ in range(2)]
    assert got[0] == steps
    assert got[1] == [replace(step, seconds={}) for step in steps]
    assert cache.lookups.totals()["reply", "hit"] == 1
    assert len(owned(REPLY, "ann" * 60)) < 60
    cache.close()


async def test_a_reply_that_the_engine_did_not_end_is_not_kept(tmp_path: Path) -> None:
    class Broken(EchoEngine):
        async def generate(self, prompt: EnginePrompt, decoding: Decoding) -> AsyncGenerator[Step, None]:
            yield Step(0, "whole", (1,), "stop")
            yield Step(1, "ha", (2,))

    cache = LmdbCache(tmp_path / "cache")
    replies = ReplyCache(cache, Settings(home=tmp_path, cache_replies=60))
    prompt, decoding = EnginePrompt((Message.user("a"),), (1,)), Decoding(n=2, beam_width=2)
    for _ in range(2):
        trace = Trace(owner="ann")
        steps = [step async for step in replies.generate(Broken(), prompt, decoding, trace)]
        assert (len(steps), trace.cached) == (2, False)
    cache.close()


def test_a_model_is_known_by_what_its_files_hold_and_not_once_they_are_others(tmp_path: Path) -> None:
    folders = [tmp_path / "one" / "model", tmp_path / "two" / "model"]
    for folder in folders:
        shutil.copytree(BUNDLED / "jc1-tiny", folder)
    weights = folders[1] / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x07")
    engines = [TransformersEngine(EngineSettings(model=str(folder))) for folder in (folders[0], *folders)]
    assert [engine.identity() for engine in engines] == [None] * 3
    for engine in engines:
        engine._read_tokenizer()  # the first thing that every start does
    one, same, other = [engine.identity() for engine in engines]
    assert one == same
    assert None not in (one, other)
    assert one != other
    shutil.copy(folders[1] / "model.safetensors", folders[0])
    assert [engine.identity() for engine in engines] == [None, None, other]
