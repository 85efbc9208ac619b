"""Responses are what OpenAI's own types take, whole and as events, whatever a reply consists of."""

from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from jc1.engines.base import FinishReason
from jc1.errors import EngineFailed, Overloaded, RateLimited
from jc1.reply import Choice, Event
from jc1.tools import ToolCall
from jc1_api.responses_format import ResponseFormat, begin, empty
from jc1_api.responses_shapes import ModelResponse
from tests.support.wire import CALLS, done, kinds, parsed, stream_of, words

REPEATED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "temperature": None,
    "top_p": None,
    "metadata": {},
    "prompt_cache_key": None,
    "safety_identifier": None,
    "user": None,
    "text": {"format": {"type": "text"}},
    "tools": [],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
}
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
OF_A_TEXT = ["response.content_part.added", "response.output_text.delta", "response.output_text.done"]
ITEM_ENDS = ["response.content_part.done", "response.output_item.done"]
CALLED = (ToolCall("call_a", "weather", '{"city": "Oslo"}'), ToolCall("call_b", "time", "{}"))


async def streamed(*happened: Event, broken: bool = False) -> list[dict[str, Any]]:
    """The events of a reply, each as OpenAI's types have it and counted without a gap."""
    read = parsed(await stream_of(ResponseFormat(begin("m", REPEATED), ["reasoning"]), *happened, broken=broken))
    for event in read:
        EVENT.validate_python(event, strict=True)
    assert [event["sequence_number"] for event in read] == list(range(len(read)))
    return read


def shown(response: dict[str, Any]) -> list[Any]:
    """The output without the ids, which are new each time."""
    Response.model_validate(response, strict=True)
    ModelResponse.model_validate(response, strict=True)
    return [{name: value for name, value in item.items() if name != "id"} for item in response["output"]]


async def test_a_text_comes_in_openais_order() -> None:
    read = await streamed(*words("Hel", "lo"), done(Choice(0, "Hello", "stop")))
    assert kinds(read) == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        *OF_A_TEXT,
        *ITEM_ENDS,
        "response.completed",
    ]
    assert [e["delta"] for e in read if e["type"] == "response.output_text.delta"] == ["Hel", "lo"]
    last = read[-1]["response"]
    assert last["usage"]["total_tokens"] == 10
    assert last["jc1"]["ignored"] == ["reasoning"]
    assert last["id"] == read[0]["response"]["id"]
    assert last["output"][0]["id"] == read[2]["item"]["id"]


@pytest.mark.parametrize(
    ("happened", "choice"),
    [
        (words("Hel", "lo"), Choice(0, "Hello", "stop")),
        (words("Hel"), Choice(0, "Hel", "length")),
        ([], Choice(0, "", "stop")),
        ([*words("h", "m", reasoning=True), *words("Hi")], Choice(0, "Hi", "stop", reasoning="hm")),
        (CALLS, Choice(0, "", "tool_calls", tool_calls=CALLED)),
        ([*words("Look"), *CALLS], Choice(0, "Look", "tool_calls", tool_calls=CALLED)),
    ],
    ids=["text", "cut", "nothing", "thoughts", "calls", "text and calls"],
)
async def test_a_stream_ends_with_what_the_whole_response_says(happened: list[Event], choice: Choice) -> None:
    read = await streamed(*happened, done(choice))
    last = read[-1]["response"]
    reply = done(choice).reply
    alone = ResponseFormat(begin("m", REPEATED), ["reasoning"]).whole(reply)
    assert shown(last) == shown(alone)
    assert (last["status"], last["usage"]) == (alone["status"], alone["usage"])
    ended = [event["item"] for event in read if event["type"] == "response.output_item.done"]
    assert [item["id"] for item in ended] == [item["id"] for item in last["output"]]


@pytest.mark.parametrize(
    ("reason", "status", "details"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
    ],
)
def test_a_response_says_whether_it_is_complete(reason: FinishReason, status: str, details: Any) -> None:
    response = ResponseFormat(begin("m", REPEATED), []).whole(done(Choice(0, "Hi", reason)).reply)
    assert (response["status"], response["incomplete_details"]) == (status, details)
    assert response["output"][-1]["status"] == status
    assert (response["completed_at"] is None) == (status == "incomplete")


async def test_arguments_of_calls_come_with_the_call_that_they_belong_to() -> None:
    read = await streamed(*CALLS, done(Choice(0, "", "tool_calls", tool_calls=CALLED)))
    deltas = [e for e in read if e["type"] == "response.function_call_arguments.delta"]
    assert [(e["output_index"], e["delta"]) for e in deltas] == [(0, '{"city": '), (0, '"Oslo"}'), (1, "{}")]
    ends = [e for e in read if e["type"] == "response.function_call_arguments.done"]
    assert [(e["output_index"], e["arguments"]) for e in ends] == [(0, '{"city": "Oslo"}'), (1, "{}")]
    assert [item["call_id"] for item in read[-1]["response"]["output"]] == ["call_a", "call_b"]


async def test_what_breaks_off_ends_with_a_failed_response_that_holds_what_there_was() -> None:
    read = await streamed(*words("Hel"), broken=True)
    assert read[-1]["type"] == "response.failed"
    response = read[-1]["response"]
    assert (response["status"], response["error"]["jc1_code"]) == ("failed", EngineFailed.code)
    assert [item["status"] for item in response["output"]] == ["in_progress"]


@pytest.mark.parametrize(
    ("error", "code"),
    [(RateLimited("Wait."), "rate_limit_exceeded"), (Overloaded("Wait."), "server_error")],
)
def test_a_failure_has_one_of_openais_codes(error: Any, code: str) -> None:
    (event,) = parsed(ResponseFormat(begin("m", REPEATED), []).failed(error).decode())
    EVENT.validate_python(event, strict=True)
    assert event["response"]["error"]["code"] == code


def test_a_response_to_nothing_is_complete_and_took_no_tokens() -> None:
    response = empty(begin("m", REPEATED))
    assert shown(response) == []
    assert (response["status"], response["usage"]["total_tokens"]) == ("completed", 0)
