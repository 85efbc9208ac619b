"""Anthropic's own client works unchanged against a real server."""

import base64
from collections.abc import Iterator

import anthropic as sdk
import pytest
from anthropic import Anthropic, AsyncAnthropic

from tests.api.conftest import Server
from tests.support.sent_pictures import png

HELLO: list[sdk.types.MessageParam] = [{"role": "user", "content": "Hello there."}]
WEATHER: sdk.types.ToolParam = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.fixture
def client(server: Server) -> Iterator[Anthropic]:
    """The client as its users make it: its base URL is without /v1."""
    with Anthropic(base_url=server.url, api_key="none", max_retries=0) as made:
        yield made


def test_a_message(client: Anthropic) -> None:
    message = client.messages.create(model="echo", max_tokens=50, system="Be brief.", messages=HELLO)
    (block,) = message.content
    assert block.type == "text"
    assert block.text == "Hello there."
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", len("Hello there.") + 1)
    assert message._request_id == message.jc1["trace_id"]  # type: ignore[attr-defined]


def test_a_picture(client: Anthropic) -> None:
    source: sdk.types.Base64ImageSourceParam = {
        "type": "base64",
        "media_type": "image/png",
        "data": base64.b64encode(png()).decode(),
    }
    content: list[sdk.types.ContentBlockParam] = [
        {"type": "image", "source": source},
        {"type": "text", "text": "What is this?"},
    ]
    message = client.messages.create(model="echo", max_tokens=50, messages=[{"role": "user", "content": content}])
    (block,) = message.content
    assert block.type == "text"
    assert block.text == "[picture 40x20]\nWhat is this?"


def test_a_stream_is_put_together_by_the_clients_own_accumulator(client: Anthropic) -> None:
    with client.messages.stream(
        model="echo", max_tokens=50, system="Be brief.", messages=HELLO, stop_sequences=["there"]
    ) as stream:
        texts = list(stream.text_stream)
        message = stream.get_final_message()
    assert "".join(texts) == "Hello "
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "there")
    assert message.usage.input_tokens == len("system: Be brief.\nuser: Hello there.\nassistant: ")


def test_the_raw_stream_and_the_beta_methods(client: Anthropic) -> None:
    events = list(client.messages.create(model="echo", max_tokens=50, messages=HELLO, stream=True))
    assert (events[0].type, events[-1].type) == ("message_start", "message_stop")
    beta = client.beta.messages.create(model="echo", max_tokens=50, messages=HELLO, betas=["context-1m-2025-08-07"])
    assert beta.content[0].type == "text"


async def test_the_async_client(server: Server) -> None:
    async with AsyncAnthropic(base_url=server.url, auth_token="none", max_retries=0) as client:
        message = await client.messages.create(model="echo", max_tokens=50, messages=HELLO)
        async with client.messages.stream(model="echo", max_tokens=50, messages=HELLO) as stream:
            assert await stream.get_final_text() == "Hello there."
    assert message.content[0].type == "text"


def test_tokens_are_counted(client: Anthropic) -> None:
    counted = client.messages.count_tokens(model="echo", system="Be brief.", messages=HELLO)
    assert counted.input_tokens == len("system: Be brief.\nuser: Hello there.\nassistant: ")


def test_a_tool_is_called_and_answers(client: Anthropic) -> None:
    asked: sdk.types.MessageParam = {"role": "user", "content": 'weather {"city": "Oslo"}'}
    with client.messages.stream(model="echo", max_tokens=50, messages=[asked], tools=[WEATHER]) as stream:
        message = stream.get_final_message()
    (call,) = message.content
    assert call.type == "tool_use"
    assert (message.stop_reason, call.name, call.input) == ("tool_use", "weather", {"city": "Oslo"})
    result: sdk.types.ToolResultBlockParam = {"type": "tool_result", "tool_use_id": call.id, "content": "Rain."}
    after = client.messages.create(
        model="echo",
        max_tokens=50,
        tools=[WEATHER],
        messages=[asked, {"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}],
    )
    (block,) = after.content
    assert block.type == "text"
    assert block.text == "Rain."


def test_errors_are_the_clients_own(client: Anthropic) -> None:
    with pytest.raises(sdk.BadRequestError) as bad:
        client.messages.create(model="echo", max_tokens=0, messages=HELLO)
    assert (bad.value.type, bad.value.error_code) == ("invalid_request_error", "invalid_decoding")
    assert bad.value.request_id is not None
    with pytest.raises(sdk.NotFoundError) as unknown:
        client.messages.create(model="claude", max_tokens=5, messages=HELLO)
    assert (unknown.value.type, unknown.value.error_code) == ("not_found_error", "model_not_found")
