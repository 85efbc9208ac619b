"""Messages are what Anthropic's own types take, whole and as events, whatever a reply consists of."""

from typing import Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from anthropic.types.shared import ErrorResponse
from pydantic import TypeAdapter

from jc1.errors import (
    Conflict,
    EngineFailed,
    EngineUnavailable,
    InvalidRequest,
    Jc1Error,
    Overloaded,
    RateLimited,
    Refused,
    RequestTooLarge,
    Unauthenticated,
    UnknownModel,
)
from jc1.reply import Choice, Event
from jc1.tools import ToolCall
from jc1_api.anthropic_errors import anthropic_error_body
from jc1_api.anthropic_format import AnthropicMessage, MessageFormat
from tests.support.wire import CALLS, done, kinds, parsed, stream_of, words

EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
CALLED = (ToolCall("call_a", "weather", '{"city": "Oslo"}'), ToolCall("call_b", "time", "{}"))
BLOCK = ["content_block_start", "content_block_delta", "content_block_stop"]


async def streamed(*happened: Event, broken: bool = False) -> list[dict[str, Any]]:
    """The events of a reply, each as Anthropic's types have it."""
    read = parsed(await stream_of(MessageFormat("m", ["tools.web_search_20250305"]), *happened, broken=broken))
    for event in read:
        if event["type"] not in ("ping", "error"):
            EVENT.validate_python(event, strict=True)
    return read


def content(read: list[dict[str, Any]]) -> list[str]:
    """What each block came to."""
    pieces: dict[int, str] = {}
    for event in read:
        if event["type"] == "content_block_start":
            pieces[event["index"]] = ""
        elif event["type"] == "content_block_delta":
            delta = event["delta"]
            pieces[event["index"]] += delta.get("text") or delta.get("thinking") or delta.get("partial_json") or ""
    return [pieces[index] for index in sorted(pieces)]


async def test_a_text_comes_in_anthropics_order() -> None:
    read = await streamed(*words("Hel", "lo"), done(Choice(0, "Hello", "stop")))
    assert kinds(read) == ["message_start", "ping", *BLOCK, "message_delta", "message_stop"]
    assert content(read) == ["Hello"]
    assert read[0]["message"]["usage"] == {"input_tokens": 7, "output_tokens": 3}
    assert read[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert read[-2]["usage"] == {"input_tokens": 7, "output_tokens": 3}
    assert read[-2]["jc1"]["ignored"] == ["tools.web_search_20250305"]


async def test_each_kind_of_content_is_a_block_of_its_own() -> None:
    happened = [*words("h", "m", reasoning=True), *words("Look"), *CALLS]
    choice = Choice(0, "Look", "tool_calls", reasoning="hm", tool_calls=CALLED)
    read = await streamed(*happened, done(choice))
    assert content(read) == ["hm", "Look", '{"city": "Oslo"}', "{}"]
    starts = [event["content_block"]["type"] for event in read if event["type"] == "content_block_start"]
    assert starts == ["thinking", "text", "tool_use", "tool_use"]
    assert sorted(e["index"] for e in read if e["type"] == "content_block_stop") == [0, 1, 2, 3]
    whole = MessageFormat("m", []).whole(done(choice).reply)
    Message.model_validate(whole, strict=True)
    AnthropicMessage.model_validate(whole, strict=True)
    assert [block["type"] for block in whole["content"]] == starts
    assert [block["input"] for block in whole["content"][2:]] == [{"city": "Oslo"}, {}]


async def test_an_empty_reply_is_an_empty_text() -> None:
    choice = Choice(0, "", "stop")
    assert content(await streamed(done(choice))) == [""]
    assert MessageFormat("m", []).whole(done(choice).reply)["content"] == [{"type": "text", "text": ""}]


@pytest.mark.parametrize(
    ("choice", "reason", "sequence"),
    [
        (Choice(0, "Hi", "stop"), "end_turn", None),
        (Choice(0, "Hi", "stop", stop="END"), "stop_sequence", "END"),
        (Choice(0, "Hi", "length"), "max_tokens", None),
        (Choice(0, "Hi", "content_filter"), "refusal", None),
        (Choice(0, "", "tool_calls", tool_calls=CALLED), "tool_use", None),
    ],
)
def test_a_message_says_why_it_ended(choice: Choice, reason: str, sequence: str | None) -> None:
    whole = MessageFormat("m", []).whole(done(choice).reply)
    Message.model_validate(whole, strict=True)
    assert (whole["stop_reason"], whole["stop_sequence"]) == (reason, sequence)


@pytest.mark.parametrize("arguments", ["{", "[1]", "", "null"])
def test_arguments_that_are_no_object_are_an_empty_one(arguments: str) -> None:
    choice = Choice(0, "", "tool_calls", tool_calls=(ToolCall("a", "f", arguments),))
    (block,) = MessageFormat("m", []).whole(done(choice).reply)["content"]
    assert block["input"] == {}


async def test_what_breaks_off_ends_with_an_error_event() -> None:
    read = await streamed(*words("Hel"), broken=True)
    assert read[-1]["type"] == "error"
    ErrorResponse.model_validate(read[-1], strict=True)
    assert read[-1]["error"]["details"]["error_code"] == EngineFailed.code


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidRequest("x", param="f"), "invalid_request_error"),
        (Unauthenticated("x"), "authentication_error"),
        (Refused("x"), "permission_error"),
        (UnknownModel("x"), "not_found_error"),
        (Conflict("x"), "invalid_request_error"),
        (RequestTooLarge("x"), "invalid_request_error"),
        (RateLimited("x"), "rate_limit_error"),
        (EngineFailed("x"), "api_error"),
        (EngineUnavailable("x"), "api_error"),
        (Overloaded("x"), "overloaded_error"),
    ],
)
def test_every_error_has_one_of_anthropics_types(error: Jc1Error, kind: str) -> None:
    body = anthropic_error_body(error, "req_1")
    ErrorResponse.model_validate(body, strict=True)
    assert (body["error"]["type"], body["error"]["details"]["error_code"]) == (kind, error.code)
