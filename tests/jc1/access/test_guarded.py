"""What is asked of a principal before its request runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from jc1 import Settings, Workbench
from jc1.access.guarded import Admitted
from jc1.access.keys import Keys
from jc1.access.principal import ADMIN, Limits, Principal
from jc1.access.usage import Usage
from jc1.database.keys import KeyRepository
from jc1.database.presets import PresetRepository
from jc1.database.usage import UsageRepository
from jc1.decoding import Decoding
from jc1.embedding.base import Embedder
from jc1.engines.echo import EchoEngine
from jc1.errors import EmbedderUnavailable, InvalidDecoding, Overloaded, RateLimited, Refused
from jc1.memory.store import DatabaseMemory
from jc1.presets import Preset, Presets
from jc1.reply import Done, Token
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
        usage=Usage(UsageRepository(database)),
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
    embedded = await workbench.guarded.embed(holding("embed"), ["a walrus", "a stone"])
    assert (embedded.vectors == embedder.embed(["a walrus", "a stone"])).all()
    assert embedded.tokens == embedder.count(["a walrus", "a stone"])


async def test_many_texts_are_embedded_in_parts_and_stay_in_order(
    workbench: Workbench, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jc1.access.guarded.EMBEDDED_TOGETHER", 2)
    texts = ["a walrus", "a stone", "a lamp", "a boat", "a hat"]
    embedded = await workbench.guarded.embed(holding("embed"), texts)
    assert (embedded.vectors @ embedder.embed(texts).T).argmax(axis=1).tolist() == list(range(5))
    assert embedded.tokens == embedder.count(texts)


async def test_a_model_that_a_key_may_not_ask_embeds_nothing_for_it(workbench: Workbench, embedder: Embedder) -> None:
    with pytest.raises(Refused) as refused:
        await workbench.guarded.embed(holding("embed", models=frozenset({"echo"})), ["Hello."])
    assert refused.value.param == "model"
    await workbench.guarded.embed(holding("embed", models=frozenset({embedder.model})), ["Hello."])


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


def rows(workbench: Workbench) -> list[tuple[Any, ...]]:
    """Return what was counted: by key and model, requests, prompt and completion tokens, and refusals."""
    names = ("key", "model", "requests", "prompt_tokens", "completion_tokens", "refused")
    return [tuple(row[name] for name in names) for row in workbench.usage.list(1)]


def figure(workbench: Workbench, name: str, **labels: str) -> float | None:
    return workbench.telemetry.registry.get_sample_value(name, labels)


async def test_what_a_reply_cost_is_counted_for_its_key_and_what_was_reserved_besides_is_given_back(
    workbench: Workbench,
) -> None:
    ann = holding("chat", key="a", limits=Limits(tokens_per_minute=1000))
    usages = []
    for remaining in (1000 - 3 - 100, None):
        events = [event async for event in workbench.guarded.stream(ann, "Hello there.", memory="off", max_tokens=100)]
        admitted, done = events[0], events[-1]
        assert isinstance(admitted, Admitted)
        assert isinstance(done, Done)
        usages.append(done.reply.trace.usage)
        left = int(admitted.headers["x-ratelimit-remaining-tokens"])
        assert left == (remaining or 1000 - 3 - 100 - usages[0].total_tokens)
    prompt, completion = (sum(getattr(u, name) for u in usages) for name in ("prompt_tokens", "completion_tokens"))
    assert rows(workbench) == [("a", "echo", 2, prompt, completion, 0)]


async def test_a_reply_that_is_left_in_the_middle_is_counted_as_far_as_it_came_and_frees_its_place(
    workbench: Workbench,
) -> None:
    ann = holding("chat", key="a", limits=Limits(concurrent=1))
    events = workbench.guarded.stream(ann, "Hello there.", memory="off")
    async for event in events:
        if isinstance(event, Token):
            break
    assert figure(workbench, "jc1_requests_running") == 1
    await events.aclose()
    assert figure(workbench, "jc1_requests_running") == 0
    ((_, _, requests, prompt, completion, _),) = rows(workbench)
    assert (requests, prompt > 0, completion > 0) == (1, True, True)
    await workbench.guarded.chat(ann, "Hello there.", memory="off")


async def test_the_longest_reply_is_the_requests_then_its_presets_then_the_default_and_never_beyond_the_settings(
    workbench: Workbench,
) -> None:
    workbench.presets.save(Preset("long", decoding={"max_tokens": 100_000}))

    async def estimate(**options: Any) -> int:
        principal = holding("chat", key="e", limits=Limits(tokens_per_minute=1))
        with pytest.raises(RateLimited) as refused:
            await workbench.guarded.chat(principal, "x" * 400, **options)
        return int(refused.value.message.split()[4].replace(",", ""))

    assert await estimate(max_tokens=7, preset="long") == 100 + 7
    assert await estimate(max_tokens=7, n=3) == 100 + 21
    assert await estimate(max_tokens=7, n=-1000) == 100 + 7
    assert await estimate(max_tokens=-1000) == 100 + 1
    assert await estimate(preset="long") == 100 + 4096
    assert await estimate(preset=Preset("own", decoding={"max_tokens": 9})) == 100 + 9
    assert await estimate() == 100 + Decoding().max_tokens


async def test_who_is_refused_is_counted_as_refused_by_reason_and_by_limit(workbench: Workbench) -> None:
    ann = holding("chat", key="a", limits=Limits(requests_per_minute=1))
    await workbench.guarded.chat(ann, "Hello.", memory="off")
    for _ in range(2):
        with pytest.raises(RateLimited):
            await workbench.guarded.chat(ann, "Hello.", memory="off")
    with pytest.raises(Refused):
        await workbench.guarded.chat(holding("embed", key="a"), "Hello.")
    ((*_, refused),) = rows(workbench)
    assert refused == 3
    assert figure(workbench, "jc1_requests_rejected_total", reason="rate_limit_exceeded") == 2
    assert figure(workbench, "jc1_requests_rejected_total", reason="refused") == 1
    assert figure(workbench, "jc1_limits_hit_total", limit="requests_per_minute", whose="key") == 2


async def test_a_request_that_the_pipeline_refuses_costs_no_tokens_and_tells_the_limits_too(
    workbench: Workbench,
) -> None:
    ann = holding("chat", key="a", limits=Limits(tokens_per_minute=1000))
    with pytest.raises(InvalidDecoding) as invalid:
        await workbench.guarded.chat(ann, "Hello.", temperature=-1)
    assert invalid.value.headers["x-ratelimit-limit-tokens"] == "1000"
    assert rows(workbench) == [("a", "echo", 1, 0, 0, 0)]


async def test_many_at_once_in_a_long_session_stay_within_the_tokens_of_a_minute(workbench: Workbench) -> None:
    for _ in range(4):
        workbench.sessions.append("ann", "long", user="x" * 500, reply="y" * 500)
    ann = holding("chat", key="k1", limits=Limits(tokens_per_minute=20_000))

    async def ask() -> int:
        try:
            reply = await workbench.guarded.chat(ann, "hi", session="long", memory="off", max_tokens=8)
        except RateLimited:
            return 0
        assert reply.trace.usage.total_tokens > 4_000
        return reply.trace.usage.total_tokens

    used = await asyncio.gather(*(ask() for _ in range(12)))
    assert 0 < sum(used) <= 20_000
    ((_, _, _, read, written, refused),) = rows(workbench)
    assert (read + written, refused) == (sum(used), used.count(0))
    assert len(workbench.sessions.history("ann", "long")) == 4 + sum(tokens > 0 for tokens in used)


async def test_a_history_leaves_less_of_a_limit_for_the_reply(workbench: Workbench) -> None:
    workbench.sessions.append("ann", "long", user="x" * 500, reply="y" * 500)
    ann = holding("chat", key="a", limits=Limits(tokens_per_minute=2000))
    with pytest.raises(RateLimited):
        await workbench.guarded.chat(ann, "hi", session="long", memory="off", max_tokens=1500)
    await workbench.guarded.chat(ann, "hi", session="long", memory="off", max_tokens=500)


async def test_where_too_many_wait_the_next_is_turned_away_and_counted(workbench: Workbench) -> None:
    workbench.guarded.admission.max_running, workbench.guarded.admission.max_waiting = 1, 0
    first = workbench.guarded.stream(holding("chat", key="a"), "Hello there.", memory="off")
    async for event in first:
        if isinstance(event, Token):
            break
    with pytest.raises(Overloaded):
        await workbench.guarded.chat(holding("chat", key="b"), "Hello.")
    assert figure(workbench, "jc1_saturation_ratio") == 1
    assert figure(workbench, "jc1_requests_rejected_total", reason="overloaded") == 1
    await first.aclose()
    assert [row[:3] for row in rows(workbench)] == [("a", "echo", 1), ("b", "echo", 0)]


async def test_what_waits_is_shown_by_vllms_names_and_in_tokens(workbench: Workbench) -> None:
    workbench.guarded.admission.max_running = 1
    first = workbench.guarded.stream(holding("chat", key="a"), "Hello there.", memory="off")
    async for event in first:
        if isinstance(event, Token):
            break
    waiting = asyncio.create_task(workbench.guarded.chat(holding("chat", key="b"), "x" * 400, memory="off"))
    await asyncio.sleep(0)  # it begins, and waits
    assert figure(workbench, "jc1_num_requests_running") == figure(workbench, "jc1_num_requests_waiting") == 1
    assert figure(workbench, "jc1_prompt_tokens_waiting") == 100
    await first.aclose()
    await waiting
    assert figure(workbench, "jc1_prompt_tokens_waiting") == figure(workbench, "jc1_num_requests_waiting") == 0


async def test_embedding_is_limited_and_counted_too(workbench: Workbench, embedder: Embedder) -> None:
    ann = holding("embed", key="a", limits=Limits(tokens_per_minute=5))
    embedded = await workbench.guarded.embed(ann, ["twelve chars"])
    assert embedded.headers["x-ratelimit-remaining-tokens"] == "2"
    with pytest.raises(RateLimited):
        await workbench.guarded.embed(ann, ["twelve chars"])
    assert rows(workbench) == [("a", embedder.model, 1, embedder.count(["twelve chars"]), 0, 1)]


async def test_a_text_however_short_is_taken_for_a_token(workbench: Workbench) -> None:
    ann = holding("embed", key="a", limits=Limits(tokens_per_minute=50))
    assert (await workbench.guarded.embed(ann, ["x"])).headers["x-ratelimit-remaining-tokens"] == "49"


async def test_a_reply_is_written_by_the_preset_that_was_checked(workbench: Workbench) -> None:
    workbench.presets.save(Preset("terse", decoding={"max_tokens": 3}))
    ann = holding("chat", presets=frozenset({"terse"}))
    assert (await workbench.guarded.chat(ann, "Hello there.", preset="terse")).trace.usage.completion_tokens == 3
    *_, done = await completed(workbench, ann, ["Hello there."], preset="terse")
    assert done.reply.trace.usage.completion_tokens == 3


async def test_what_is_said_for_another_owner_is_that_owners(workbench: Workbench) -> None:
    await workbench.guarded.chat(holding("chat"), "My cat is called Ada.", owner="bob")
    assert workbench.memory.list("bob").total
    assert not workbench.memory.list("ann").total
    *_, done = await completed(workbench, holding("chat"), owner="bob")
    assert done.reply.trace.owner == "bob"


async def completed(workbench: Workbench, principal: Principal, prompts: Any = ("Hello.",), **options: Any) -> Any:
    return [event async for event in workbench.guarded.complete(principal, prompts, **options)]


async def test_raw_prompts_are_asked_with_the_same_scope_model_and_preset(workbench: Workbench) -> None:
    with pytest.raises(Refused, match="'chat'"):
        await completed(workbench, holding("embed"))
    for allowed, param in (("models", "model"), ("presets", "preset")):
        with pytest.raises(Refused) as refused:
            await completed(workbench, holding("chat", **{allowed: frozenset({"other"})}))
        assert refused.value.param == param
    admitted, *_, done = await completed(workbench, holding("chat", key="a", models=frozenset({"echo"})))
    assert isinstance(admitted, Admitted)
    assert isinstance(done, Done)
    assert [row[:3] for row in rows(workbench) if row[2]] == [("a", "echo", 1)]


async def test_raw_prompts_may_cost_what_they_read_and_a_longest_reply_for_each(workbench: Workbench) -> None:
    nearly_nothing = holding("chat", key="a", limits=Limits(tokens_per_minute=1))
    for prompts, tokens in ((["x" * 400, (1, 2, 3)], 100 + 3 + 4 * 10), ([(1, 2, 3)], 3 + 2 * 10)):
        with pytest.raises(RateLimited, match=f"may take {tokens} tokens"):
            await completed(workbench, nearly_nothing, prompts, max_tokens=10, n=2)


async def test_who_is_turned_away_hears_of_the_limits_too_and_pays_nothing(workbench: Workbench) -> None:
    workbench.guarded.admission.max_running, workbench.guarded.admission.max_waiting = 1, 0
    ann = holding("chat", "embed", key="a", limits=Limits(tokens_per_minute=1000))
    first = workbench.guarded.stream(holding("chat", key="b"), "Hello there.", memory="off")
    async for event in first:
        if isinstance(event, Token):
            break
    for asked in (workbench.guarded.chat(ann, "Hello.", max_tokens=10), workbench.guarded.embed(ann, ["Hello."])):
        with pytest.raises(Overloaded) as overloaded:
            await asked
        assert overloaded.value.headers["retry-after"] == "1"
        assert overloaded.value.headers["x-ratelimit-limit-tokens"] == "1000"
    await first.aclose()
    assert (await workbench.guarded.embed(ann, ["x" * 4000])).headers["x-ratelimit-remaining-tokens"] == "0"


async def test_a_flood_of_one_key_gives_way_to_another_key(workbench: Workbench) -> None:
    workbench.guarded.admission.max_running, workbench.guarded.admission.max_waiting = 1, 2
    first = workbench.guarded.stream(holding("chat", key="a"), "Hello there.", memory="off")
    async for event in first:
        if isinstance(event, Token):
            break
    calls = []
    for key in ("a", "a", "b"):
        principal = holding("chat", key=key)
        calls.append(asyncio.create_task(workbench.guarded.chat(principal, "Hello.", memory="off")))
        await asyncio.sleep(0)
    await first.aclose()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(end, Overloaded) for end in ended] == [False, True, False]


async def test_texts_that_cannot_be_embedded_are_a_request_that_cost_nothing(
    workbench: Workbench, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise EmbedderUnavailable("The embedder failed: see the log.")

    ann = holding("embed", key="a", limits=Limits(tokens_per_minute=5))
    with monkeypatch.context() as patched:
        patched.setattr(embedder, "embed", broken)
        with pytest.raises(EmbedderUnavailable) as failed:
            await workbench.guarded.embed(ann, ["twelve chars"])
    assert failed.value.headers["x-ratelimit-remaining-tokens"] == "2"
    assert (await workbench.guarded.embed(ann, ["twenty characters..."])).headers["x-ratelimit-remaining-tokens"] == "0"
    assert rows(workbench) == [("a", embedder.model, 2, embedder.count(["twenty characters..."]), 0, 0)]


async def test_a_request_that_asks_no_model_is_turned_away_by_the_same_limit_and_counted(workbench: Workbench) -> None:
    ann = holding("memory:read", key="a", limits=Limits(requests_per_minute=1))
    await workbench.guarded.take_request(ann)
    with pytest.raises(RateLimited):
        await workbench.guarded.take_request(ann)
    assert figure(workbench, "jc1_requests_rejected_total", reason="rate_limit_exceeded") == 1
