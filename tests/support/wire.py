"""Events as the pipeline yields them, and streams as clients read them, for tests of wire formats."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import httpx

from jc1.errors import EngineFailed
from jc1.reply import Choice, Done, Event, Reply, Token
from jc1.tools import ToolCallDelta
from jc1.trace import Trace, Usage
from jc1_api.replies import Begun, WireFormat, written

CALLS = (
    ToolCallDelta(0, 0, "call_a", "weather", '{"city": '),
    ToolCallDelta(0, 1, "call_b", "time"),
    ToolCallDelta(0, 0, arguments='"Oslo"}'),
    ToolCallDelta(0, 1, arguments="{}"),
)
"""Two calls whose pieces come in turns, as a remote server may send them."""


def trace() -> Trace:
    """Return the trace of a request that took 7 tokens and brought 3."""
    return Trace(owner="local", model="m", usage=Usage(7, 3))


def done(*choices: Choice) -> Done:
    """Return the last event of a reply."""
    return Done(Reply(choices, trace()))


async def events(*happened: Event, broken: bool = False) -> AsyncGenerator[Event, None]:
    """Yield what happened; then, where it is broken, fail."""
    for event in happened:
        yield event
    if broken:
        raise EngineFailed("The engine broke: send the request again.")


async def stream_of(form: WireFormat, *happened: Event, broken: bool = False) -> str:
    """Return the stream that a reply is written as."""
    start = Begun(trace(), events(*happened, broken=broken))
    return b"".join([chunk async for chunk in written(start, form)]).decode()


def parsed(text: str) -> list[dict[str, Any]]:
    """Return the events of a stream in which each is named by its type."""
    blocks = text.removesuffix("\n\n").split("\n\n")
    read = []
    for block in blocks:
        name, data = block.split("\n")
        value = json.loads(data.removeprefix("data: "))
        assert name == f"event: {value['type']}"
        read.append(value)
    return read


def kinds(read: Sequence[dict[str, Any]]) -> list[str]:
    """Return the types of events, each run of the same type once."""
    types = [event["type"] for event in read]
    return [kind for kind, before in zip(types, [None, *types], strict=False) if kind != before]


def words(*texts: str, reasoning: bool = False) -> list[Event]:
    """Return texts, or thoughts, as they are written."""
    return [Token(0, "", reasoning=text) if reasoning else Token(0, text) for text in texts]


def error_of(response: httpx.Response) -> dict[str, Any]:
    """Return the error of a response, its code and field by the same names in OpenAI's shape and in Anthropic's."""
    error: dict[str, Any] = response.json()["error"]
    if "details" not in error:
        return error
    return {**error, "code": error["details"]["error_code"], "param": error["details"]["param"]}
