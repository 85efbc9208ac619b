"""What every engine must do alike. The engines are in `conftest.py`; each one's greedy reply is `REPLY`."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from contextlib import aclosing

import pytest

from jc1.decoding import Decoding
from jc1.engines.base import Engine, EnginePrompt, Step
from jc1.errors import EngineUnavailable, InvalidDecoding, InvalidRequest, PromptTooLong, UnsupportedDecoding
from jc1.messages import Message
from jc1.tools import Tool, Toolset

REPLY = "Jürgen:❤😀"
LETTERS = len(REPLY.encode())
SAMPLED = {"temperature": 2.0, "max_tokens": 12, "min_tokens": 12}


async def steps_of(engine: Engine, prompt: EnginePrompt, **decoding: object) -> list[Step]:
    async with aclosing(engine.generate(prompt, Decoding.parse(decoding))) as steps:
        return [step async for step in steps]


def text_of(steps: Sequence[Step], index: int = 0) -> str:
    return "".join(step.text for step in steps if step.index == index)


def tokens_of(steps: Sequence[Step], index: int = 0) -> list[int]:
    return [token for step in steps if step.index == index for token in step.token_ids]


async def test_the_greedy_reply_ends_by_itself_with_its_end_token_counted(engine: Engine, prompt: EnginePrompt) -> None:
    steps = await steps_of(engine, prompt)
    assert text_of(steps) == REPLY
    assert steps[-1].finish_reason == "stop"
    assert len(tokens_of(steps)) == LETTERS + 1
    assert [step.finish_reason for step in steps[:-1]] == [None] * (len(steps) - 1)


async def test_a_character_of_several_tokens_is_shown_whole(engine: Engine, prompt: EnginePrompt) -> None:
    steps = await steps_of(engine, prompt)  # a step may hold several tokens: engines give what they have
    assert text_of(steps) == REPLY
    assert not any("\N{REPLACEMENT CHARACTER}" in step.text for step in steps)


async def test_a_character_cut_off_by_the_limit_is_marked_and_not_lost(engine: Engine, prompt: EnginePrompt) -> None:
    steps = await steps_of(engine, prompt, max_tokens=LETTERS - 1)
    assert text_of(steps).rstrip("\N{REPLACEMENT CHARACTER}") == REPLY[:-1]
    assert text_of(steps) != REPLY[:-1]
    assert steps[-1].finish_reason == "length"


async def test_the_first_step_tells_how_long_queue_and_prefill_took(engine: Engine, prompt: EnginePrompt) -> None:
    first, *rest = await steps_of(engine, prompt)
    assert set(first.seconds) == {"queue", "prefill"}
    assert all(seconds >= 0 for seconds in first.seconds.values())
    assert not any(step.seconds for step in rest)


async def test_messages_alone_are_enough(engine: Engine, prompt: EnginePrompt) -> None:
    assert text_of(await steps_of(engine, EnginePrompt(prompt.messages))) == REPLY


async def test_a_raw_prompt_is_gone_on_from_as_it_is(engine: Engine) -> None:
    token_ids = engine.encode("Jür")
    assert (engine.encode(token_ids), engine.decode(token_ids)) == (token_ids, "Jür")
    reply = "Jür" if engine.name == "echo" else REPLY.removeprefix("Jür")
    for decoding in ({}, {"beam_width": 2}):
        assert text_of(await steps_of(engine, EnginePrompt((), token_ids), **decoding)) == reply


async def test_a_raw_prompt_of_unknown_tokens_is_refused(engine: Engine) -> None:
    for unknown in (-1, 10**6):
        with pytest.raises(InvalidRequest, match=f"token {unknown}") as caught:
            engine.encode([0, unknown])
        assert caught.value.param == "prompt"


async def test_a_stop_string_across_tokens_ends_the_reply_and_no_part_of_it_is_shown(
    engine: Engine, prompt: EnginePrompt
) -> None:
    steps = await steps_of(engine, prompt, stop=["never", "gen:"])
    assert text_of(steps) == "Jür"
    assert steps[-1].finish_reason == "stop"
    assert len(tokens_of(steps)) == len("Jürgen:".encode())


async def test_a_stop_string_within_min_tokens_does_not_end_the_reply(engine: Engine, prompt: EnginePrompt) -> None:
    assert text_of(await steps_of(engine, prompt, stop="gen", min_tokens=LETTERS)) == REPLY


async def test_max_tokens_ends_the_reply_with_length(engine: Engine, prompt: EnginePrompt) -> None:
    steps = await steps_of(engine, prompt, max_tokens=4)
    assert (text_of(steps), steps[-1].finish_reason, len(tokens_of(steps))) == ("Jür", "length", 4)


async def test_min_tokens_keeps_the_reply_from_ending(engine: Engine, prompt: EnginePrompt) -> None:
    steps = await steps_of(engine, prompt, min_tokens=LETTERS + 3)
    assert text_of(steps).startswith(REPLY)
    assert len(tokens_of(steps)) >= LETTERS + 3


async def test_the_reply_gets_no_more_than_the_context_leaves(engine: Engine, prompt: EnginePrompt) -> None:
    filled = (*prompt.token_ids, *prompt.token_ids * 100)[-(engine.capabilities.context_length - 3) :]
    steps = await steps_of(engine, EnginePrompt(prompt.messages, filled), max_tokens=50)
    assert len(tokens_of(steps)) == 3
    assert steps[-1].finish_reason == "length"


async def test_a_prompt_that_leaves_no_room_is_refused(engine: Engine, prompt: EnginePrompt) -> None:
    filled = (prompt.token_ids * 100)[: engine.capabilities.context_length]
    with pytest.raises(PromptTooLong):
        await steps_of(engine, EnginePrompt(prompt.messages, filled))


async def test_the_same_seed_gives_the_same_reply_and_another_seed_another(
    engine: Engine, prompt: EnginePrompt
) -> None:
    first, again, other = [tokens_of(await steps_of(engine, prompt, seed=seed, **SAMPLED)) for seed in (1, 1, 2)]
    assert first == again
    assert first != other


async def test_n_replies_are_separate_and_the_first_is_what_n_of_one_gives(
    engine: Engine, prompt: EnginePrompt
) -> None:
    three = await steps_of(engine, prompt, n=3, seed=5, **SAMPLED)
    one = await steps_of(engine, prompt, seed=5, **SAMPLED)
    assert {step.index for step in three} == {0, 1, 2}
    assert [s.index for s in three if s.finish_reason] == [0, 1, 2]
    assert len({tuple(tokens_of(three, index)) for index in range(3)}) == 3
    assert tokens_of(three, 0) == tokens_of(one)


async def test_a_choice_that_is_over_says_nothing_more_while_others_go_on(engine: Engine, prompt: EnginePrompt) -> None:
    end = tokens_of(await steps_of(engine, prompt))[-1]
    steps = await steps_of(engine, prompt, n=6, temperature=1.0, seed=3, logit_bias={end: 8.0}, max_tokens=40)
    for index in range(6):
        own = [step for step in steps if step.index == index]
        assert [step.finish_reason is not None for step in own] == [False] * (len(own) - 1) + [True]
    assert len({len(tokens_of(steps, index)) for index in range(6)}) > 1


async def test_a_cold_sample_is_the_greedy_reply(engine: Engine, prompt: EnginePrompt) -> None:
    assert text_of(await steps_of(engine, prompt, temperature=0.01, seed=1)) == REPLY


@pytest.mark.parametrize("filters", [{"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}])
async def test_each_filter_at_its_narrowest_leaves_the_greedy_reply(
    engine: Engine, prompt: EnginePrompt, filters: dict[str, float]
) -> None:
    assert text_of(await steps_of(engine, prompt, temperature=2.0, seed=1, **filters)) == REPLY


async def test_a_bias_forbids_or_forces_a_token(engine: Engine, prompt: EnginePrompt) -> None:
    first, second = tokens_of(await steps_of(engine, prompt))[:2]
    assert first not in tokens_of(await steps_of(engine, prompt, logit_bias={first: -100.0}, max_tokens=3))
    assert tokens_of(await steps_of(engine, prompt, logit_bias={second: 100.0}, max_tokens=3)) == [second] * 3


async def test_a_bias_for_an_unknown_token_is_refused_by_name(engine: Engine, prompt: EnginePrompt) -> None:
    with pytest.raises(InvalidDecoding) as caught:
        await steps_of(engine, prompt, logit_bias={10**6: 1.0})
    assert caught.value.param == "logit_bias"


async def test_a_presence_penalty_moves_the_reply_off_what_it_said(engine: Engine, prompt: EnginePrompt) -> None:
    second = tokens_of(await steps_of(engine, prompt))[1]
    forced = await steps_of(
        engine, prompt, logit_bias={second: 20.0}, presence_penalty=2.0, frequency_penalty=2.0, max_tokens=12
    )
    assert len(set(tokens_of(forced))) > 1
    assert tokens_of(forced)[0] == second


async def test_logprobs_are_the_models_own_normalised_and_best_first(engine: Engine, prompt: EnginePrompt) -> None:
    plain, hot = [
        [
            entry
            for step in await steps_of(engine, prompt, max_tokens=3, logprobs=20, **extra)
            for entry in step.logprobs or ()
        ]
        for extra in ({}, {"temperature": 2.0, "top_k": 1})
    ]
    assert plain == hot
    for entry in plain:
        logprobs = [other.logprob for other in entry.top]
        assert len(logprobs) == 20
        assert logprobs == sorted(logprobs, reverse=True)
        assert sum(map(math.exp, logprobs)) <= 1.0 + 1e-9
        assert (entry.token_id, entry.text, entry.logprob) == (
            entry.top[0].token_id,
            entry.top[0].text,
            pytest.approx(entry.top[0].logprob),
        )
    assert plain[0].text == "J"


async def test_zero_logprobs_report_the_token_alone_and_none_reports_nothing(
    engine: Engine, prompt: EnginePrompt
) -> None:
    zero, none = [await steps_of(engine, prompt, logprobs=count) for count in (0, None)]
    assert [entry.token_id for step in zero for entry in step.logprobs or ()] == tokens_of(zero)
    assert all(entry.top == () and entry.logprob < 0 for step in zero for entry in step.logprobs or ())
    assert all(step.logprobs is None for step in none)


async def test_a_field_that_it_cannot_honour_is_named_with_advice(engine: Engine, prompt: EnginePrompt) -> None:
    guides: dict[str, object] = {"json_schema": {"type": "object"}, "regex": "a+", "choice": ["a", "b"]}
    for name in set(Decoding.model_fields) - engine.capabilities.decoding:
        with pytest.raises(UnsupportedDecoding) as caught:
            await steps_of(engine, prompt, **{name: guides.get(name, 2)})
        assert (caught.value.param, caught.value.engine) == (name, engine.name)
        assert engine.capabilities.advice[name] in caught.value.message


async def test_a_tool_that_has_to_be_called_is_called_with_arguments_that_fit_or_tools_are_refused(
    engine: Engine, prompt: EnginePrompt
) -> None:
    schema = {"type": "object", "properties": {"days": {"enum": [3, 7]}}, "additionalProperties": False}
    tools = Toolset((Tool("clock"), Tool("get_weather", parameters=schema)), "get_weather", parallel=False)
    asked = EnginePrompt(prompt.messages, tools=tools)
    if not engine.capabilities.tools:
        with pytest.raises(UnsupportedDecoding) as caught:
            await steps_of(engine, asked)
        assert (caught.value.param, engine.capabilities.advice["tools"] in caught.value.message) == ("tools", True)
        return
    steps = await steps_of(engine, asked)
    first, *rest = [piece for step in steps for piece in step.calls]
    assert (first.call, first.name, bool(first.id), first.arguments) == (0, "get_weather", True, "")
    assert json.loads("".join(piece.arguments for piece in rest)) in ({}, {"days": 3}, {"days": 7})
    assert (text_of(steps), steps[-1].finish_reason) == ("", "tool_calls")


async def test_closing_the_stream_frees_the_slot(engine: Engine, prompt: EnginePrompt) -> None:
    stream = engine.generate(prompt, Decoding(max_tokens=200, min_tokens=200))
    assert (await anext(stream)).text == "J"
    assert engine.active == 1
    await stream.aclose()
    assert engine.active == 0


async def test_cancelling_the_task_frees_the_slot(engine: Engine, prompt: EnginePrompt) -> None:
    first = asyncio.Event()

    async def read() -> None:
        async with aclosing(engine.generate(prompt, Decoding(max_tokens=200, min_tokens=200))) as steps:
            async for _ in steps:
                first.set()
                await asyncio.sleep(0)

    task = asyncio.create_task(read())
    await first.wait()
    assert engine.active == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.active == 0
    assert text_of(await steps_of(engine, prompt)) == REPLY


async def test_a_refused_request_holds_no_slot(engine: Engine, prompt: EnginePrompt) -> None:
    with pytest.raises(InvalidDecoding):
        await steps_of(engine, prompt, logit_bias={10**6: 1.0})
    assert engine.active == 0


async def test_beams_come_whole_best_first_each_with_the_score_that_its_tokens_have(
    engine: Engine, prompt: EnginePrompt
) -> None:
    steps = await steps_of(engine, prompt, beam_width=4, n=3, length_penalty=0.7)
    assert [step.index for step in steps] == [0, 1, 2]
    assert steps[0].text == REPLY
    assert all(step.finish_reason for step in steps)
    assert set(steps[0].seconds) == {"queue", "prefill"}
    scores = [step.score for step in steps]
    assert scores == sorted(scores, reverse=True)
    greedy = [entry.logprob for step in await steps_of(engine, prompt, logprobs=0) for entry in step.logprobs or ()]
    assert scores[0] == pytest.approx(sum(greedy) / len(greedy) ** 0.7)


async def test_beams_end_at_max_tokens_and_not_before_min_tokens(engine: Engine, prompt: EnginePrompt) -> None:
    (short,) = await steps_of(engine, prompt, beam_width=2, max_tokens=4)
    assert (short.text, short.finish_reason, len(short.token_ids)) == ("Jür", "length", 4)
    (longer,) = await steps_of(engine, prompt, beam_width=2, min_tokens=LETTERS + 3, max_tokens=LETTERS + 6)
    assert len(longer.token_ids) >= LETTERS + 3


async def test_closing_a_beam_search_frees_the_slot(engine: Engine, prompt: EnginePrompt) -> None:
    stream = engine.generate(prompt, Decoding.parse({"beam_width": 4, "max_tokens": 200, "min_tokens": 200}))
    waiting = asyncio.create_task(anext(stream))
    async with asyncio.timeout(60):
        while not engine.active:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.001)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert engine.active == 0
    assert text_of(await steps_of(engine, prompt)) == REPLY


async def test_concurrent_requests_get_each_its_own_reply(engine: Engine, prompt: EnginePrompt) -> None:
    alone = [await steps_of(engine, prompt, seed=seed, **SAMPLED) for seed in range(4)]
    together = await asyncio.gather(*(steps_of(engine, prompt, seed=seed, **SAMPLED) for seed in range(4)))
    assert [tokens_of(steps) for steps in together] == [tokens_of(steps) for steps in alone]


async def test_starting_and_closing_twice_does_nothing_more(engine: Engine, prompt: EnginePrompt) -> None:
    await asyncio.gather(engine.start(), engine.start())
    assert engine.healthy
    await engine.close()
    await engine.close()
    assert not engine.healthy
    with pytest.raises(EngineUnavailable):
        await steps_of(engine, prompt)
    await engine.start()
    assert text_of(await steps_of(engine, prompt)) == REPLY


async def test_the_prompt_has_the_messages_in_order_and_opens_the_reply(engine: Engine) -> None:
    def count(*messages: Message) -> int:
        return len(engine.tokenize(messages))

    hello, answer = Message.user("hello"), Message.assistant("hello")
    assert count(hello) < count(hello, answer) < count(hello, answer, hello)
    assert engine.tokenize([hello])[-1:] == engine.tokenize([hello, answer, hello])[-1:]
    assert engine.tokenize([hello]) != engine.tokenize([Message.user("olleh")])
