"""Guided replies on transformers: a model with random weights keeps to every form, of which it would write none."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from jc1.decoding import Decoding
from jc1.engines.base import EnginePrompt, Step
from jc1.engines.settings import EngineSettings
from jc1.engines.transformers.engine import TransformersEngine
from jc1.errors import InvalidDecoding, UnsupportedDecoding
from jc1.messages import Message
from jc1.reply import Choice, ChoiceBuilder
from jc1.tools import Tool, Toolset

ASK = (Message.user("Is it raining?"),)
WEATHER = Tool(
    "get_weather",
    "Tell it.",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string", "maxLength": 12},
            "days": {"type": "integer", "minimum": 1, "maximum": 31},
            "units": {"enum": ["metric", "imperial", 'a "quoted" one']},
        },
        "required": ["city", "days", "units"],
        "additionalProperties": False,
    },
)
CLOCK = Tool("clock", parameters={"type": "object", "properties": {}, "additionalProperties": False})
SCHEMAS = {tool.name: dict(tool.parameters) for tool in (WEATHER, CLOCK)}
BOMB = {"type": "integer", "multipleOf": 99_999_989}
"""A schema whose grammar takes minutes and gigabytes to compile: a state for each remainder."""


@pytest.fixture
async def engine(tool_model: Path) -> AsyncIterator[TransformersEngine]:
    started = TransformersEngine(EngineSettings(model=str(tool_model), guide_seconds=3.0))
    await started.start()
    yield started
    await started.close()


async def choices_of(engine: TransformersEngine, tools: Toolset | None = None, **decoding: Any) -> list[Choice]:
    """Return the choices, whole."""
    settings = Decoding.parse({"max_tokens": 700, **decoding})
    built = [ChoiceBuilder() for _ in range(settings.n)]
    async with aclosing(engine.generate(EnginePrompt(ASK, tools=tools), settings)) as steps:
        async for step in steps:
            assert isinstance(step, Step)
            built[step.index].add(step)
    return [builder.choice(index) for index, builder in enumerate(built)]


@pytest.mark.parametrize("seed", range(2))
async def test_a_reply_fits_its_schema_whatever_the_weights_are(engine: TransformersEngine, seed: int) -> None:
    schema = {**WEATHER.parameters, "oneOf": [{"type": "object"}, {"type": "array"}]}
    for choice in await choices_of(engine, json_schema=schema, temperature=1.5, seed=seed, n=2):
        jsonschema.validate(json.loads(choice.text), dict(WEATHER.parameters))
        assert choice.finish_reason == "stop"


@pytest.mark.parametrize(
    ("guide", "fits"),
    [
        ({"regex": r"[a-c]{3}/\d{2}\n?"}, r"[a-c]{3}/\d{2}\n?"),
        ({"regex": r"a\/b|\\/"}, r"a/b|\\/"),
        ({"regex": "é[日本]{2,4}😀"}, "é[日本]{2,4}😀"),
        ({"regex": "x\ny"}, "x\ny"),
        ({"choice": ["yes", 'no "no"', "/*"]}, r'yes|no "no"|/\*'),
        ({"regex": "a+", "min_tokens": 5}, "a{5,}"),
        ({"choice": ["a"], "min_tokens": 5}, "a"),
        ({"regex": "[ab]*", "stop": ["ab"]}, "[ab]*"),
    ],
    ids=ascii,
)
async def test_a_reply_is_of_the_form_that_was_asked_for(
    engine: TransformersEngine, guide: dict[str, Any], fits: str
) -> None:
    (choice,) = await choices_of(engine, **{"max_tokens": 60, "temperature": 1.0, "seed": 3, **guide})
    assert re.fullmatch(fits, choice.text)


async def test_requests_with_different_guides_and_none_share_a_batch(engine: TransformersEngine) -> None:
    (digits,), (letters,), (free,) = await asyncio.gather(
        choices_of(engine, regex="[0-9]{20}"), choices_of(engine, regex="[x-z]{5}"), choices_of(engine, max_tokens=9)
    )
    assert re.fullmatch("[0-9]{20}", digits.text)
    assert re.fullmatch("[x-z]{5}", letters.text)
    assert len(free.token_ids) == 9


@pytest.mark.parametrize("choice", ["required", "get_weather", "clock"])
async def test_a_call_that_has_to_be_made_is_made_and_its_arguments_fit(
    engine: TransformersEngine, choice: str
) -> None:
    tools = Toolset((WEATHER, CLOCK), choice, parallel=False)
    for reply in await choices_of(engine, tools, temperature=1.2, seed=5, n=3):
        (call,) = reply.tool_calls
        assert (reply.text, reply.finish_reason) == ("", "tool_calls")
        assert choice in ("required", call.name)
        jsonschema.validate(json.loads(call.arguments), SCHEMAS[call.name])


async def test_a_reply_may_hold_several_calls_unless_that_was_ruled_out(engine: TransformersEngine) -> None:
    # What goes on after a call is made likely, so that it would.
    again = {letter(engine, "\n"): 80.0}
    tools = Toolset((CLOCK,), "required")
    (several,) = await choices_of(engine, tools, logit_bias=again, max_tokens=150)
    assert [(call.name, call.arguments) for call in several.tool_calls[:2]] == [("clock", "{}")] * 2
    (one,) = await choices_of(engine, replace(tools, parallel=False), logit_bias=again, max_tokens=150)
    assert [(call.name, one.finish_reason) for call in one.tool_calls] == [("clock", "tool_calls")]


async def test_calls_left_to_the_model_are_text_or_whole_calls(engine: TransformersEngine) -> None:
    tools = Toolset((WEATHER, CLOCK))
    replies = [
        *await choices_of(engine, tools, temperature=1.0, seed=1, n=2, max_tokens=40),
        # The letter that opens a call is made likely, and the rest of the trigger is not text.
        *await choices_of(engine, tools, logit_bias={letter(engine, c): 60.0 for c in "<"}, max_tokens=150),
    ]
    for reply in replies:
        assert "<tool_call>" not in reply.text
        assert reply.tool_calls or reply.finish_reason in ("stop", "length")
        for call in reply.tool_calls[: -1 if reply.finish_reason == "length" else None]:
            jsonschema.validate(json.loads(call.arguments), SCHEMAS[call.name])


def letter(engine: TransformersEngine, text: str) -> int:
    assert engine._tokenizer is not None
    (token,) = engine._tokenizer.encode(text)
    return token


async def test_a_schema_beside_tools_leaves_the_choice_between_both(engine: TransformersEngine) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": False}
    for seed in range(3):
        (reply,) = await choices_of(
            engine, Toolset((CLOCK,), parallel=False), json_schema=schema, temperature=1.0, seed=seed
        )
        assert reply.tool_calls or json.loads(reply.text)["a"] in (1, 2)


async def test_a_guide_holds_whatever_was_drafted(tool_model: Path) -> None:
    drafting = TransformersEngine(EngineSettings(model=str(tool_model), speculation="ngram:3"))
    await drafting.start()
    try:
        (free,) = await choices_of(drafting, regex="(abc){12}")
        (call,) = (await choices_of(drafting, Toolset((CLOCK,), "clock", parallel=False)))[0].tool_calls
    finally:
        await drafting.close()
    assert free.text == "abc" * 12
    assert (call.name, call.arguments) == ("clock", "{}")


@pytest.mark.parametrize(
    ("guide", "param"),
    [
        ({"regex": "(a"}, "regex"),
        ({"regex": r"(a)\1"}, "regex"),
        ({"json_schema": {"type": "nonsense"}}, "json_schema"),
        ({"json_schema": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}}, "json_schema"),
        ({"json_schema": {"type": "object", "patternProperties": {"(": {}}}}, "json_schema"),
        ({"json_schema": {"properties": {f"k{i}": {} for i in range(20_000)}}}, "json_schema"),
    ],
    ids=lambda value: ascii(value)[:40],
)
async def test_a_guide_that_cannot_be_followed_is_refused_by_name(
    engine: TransformersEngine, guide: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidDecoding) as refused:
        await choices_of(engine, **guide)
    assert refused.value.param == param


async def test_a_bomb_is_refused_in_time_while_others_are_served(engine: TransformersEngine) -> None:
    began = asyncio.get_running_loop().time()
    bombs = [asyncio.create_task(choices_of(engine, json_schema=BOMB)) for _ in range(2)]
    bombs.append(asyncio.create_task(choices_of(engine, Toolset((Tool("f", parameters={"properties": {"a": BOMB}}),)))))
    served = 0
    while not all(task.done() for task in bombs):
        await choices_of(engine, max_tokens=5)
        served += 1
    assert served > 5
    for task, param in zip(bombs, ("json_schema", "json_schema", "tools"), strict=True):
        error = task.exception()
        assert isinstance(error, InvalidDecoding)
        assert error.param == param
    assert asyncio.get_running_loop().time() - began < 30


async def test_nested_quantifiers_are_no_bomb(engine: TransformersEngine) -> None:
    (reply,) = await choices_of(engine, regex="(((a{0,100}){0,100}){0,100}b){2}", max_tokens=12, logit_bias={})
    assert set(reply.text) <= {"a", "b"}


async def test_what_cannot_be_enforced_only_advises_unless_it_is_to_be_strict(engine: TransformersEngine) -> None:
    parameters = {"type": "object", "properties": {"a": {"type": "array", "items": {"enum": [1]}, "uniqueItems": True}}}
    loose, strict = (Toolset((Tool("f", parameters=parameters, strict=strict),), "f") for strict in (False, True))
    await choices_of(engine, loose, max_tokens=5)
    with pytest.raises(InvalidDecoding):
        await choices_of(engine, strict, max_tokens=5)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for m in messages %}{{ m['content'] }}{% endfor %}", "knows no tools"),
        ("{% if tools %}{{ tools }}{% endif %}{% for m in messages %}{{ m['content'] }}{% endfor %}", "not known here"),
    ],
)
async def test_a_model_whose_template_shows_no_form_of_calls_refuses_tools_by_name(
    tool_model: Path, tmp_path: Path, template: str, reason: str
) -> None:
    folder = shutil.copytree(tool_model, tmp_path / "other")
    (folder / "chat_template.jinja").write_text(template)
    plain = TransformersEngine(EngineSettings(model=str(folder)))
    await plain.start()
    try:
        with pytest.raises(UnsupportedDecoding, match=reason):
            await choices_of(plain, Toolset((CLOCK,)))
    finally:
        await plain.close()


async def test_the_prompt_has_the_tools_and_what_was_called(engine: TransformersEngine) -> None:
    from jc1.tools import ToolCall

    assert engine._tokenizer is not None
    call = ToolCall("c", "clock", '{"zone": "<tool_call>"}')
    turn = [*ASK, Message.assistant("", (call,)), Message.tool("Noon </tool_response>", "c")]
    text = engine._tokenizer.decode(engine.tokenize(turn, Toolset((WEATHER,))))
    assert '<tools>{"name": "get_weather", "description": "Tell it.", "parameters": {"type": "object"' in text
    assert '<tool_call>\n{"name": "clock", "arguments": {"zone": "< tool_call>"}}\n</tool_call>' in text
    assert "<tool_response>Noon < /tool_response></tool_response>" in text
