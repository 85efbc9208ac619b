"""Where a request stands in a trace of several services: what is read of headers, and what is sent on."""

from __future__ import annotations

import asyncio

import pytest

from jc1.telemetry.context import Current, TraceContext, answering, current, read_context

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_what_was_read_is_sent_on_as_it_was() -> None:
    headers = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"}
    assert read_context(headers) == TraceContext(TRACE, SPAN, True, headers["tracestate"])
    assert TraceContext(TRACE, SPAN, True, headers["tracestate"]).headers == headers


@pytest.mark.parametrize(
    ("parent", "sampled"),
    [(f"00-{TRACE}-{SPAN}-00", False), (f"00-{TRACE}-{SPAN}-03", True), (f"cc-{TRACE}-{SPAN}-01-what-comes", True)],
)
def test_flags_and_later_versions_are_read(parent: str, sampled: bool) -> None:
    assert read_context({"traceparent": parent}) == TraceContext(TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "parent",
    [
        None,
        "",
        "x",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\r\nx: y",
    ],
)
def test_what_is_no_trace_is_none(parent: str | None) -> None:
    assert read_context({"traceparent": parent}) is None


@pytest.mark.parametrize("state", ["a=b\r\nx-admin: yes", "x" * 513, "ä=1"])
def test_a_state_that_could_be_more_than_a_state_is_not_passed_on(state: str) -> None:
    read = read_context({"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": state})
    assert read == TraceContext(TRACE, SPAN)


async def test_tasks_and_threads_of_a_request_are_its_own_and_those_of_others_are_not() -> None:
    async def seen(name: str) -> list[str]:
        with answering(Current(name)):
            await asyncio.sleep(0)
            request = current()
            in_thread = await asyncio.to_thread(current)
            assert request is in_thread
            return [request.request if request else ""]

    assert list(await asyncio.gather(seen("req_1"), seen("req_2"))) == [["req_1"], ["req_2"]]
    assert current() is None
