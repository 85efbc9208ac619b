"""The official client works unchanged against a real server."""

import asyncio
from typing import Any

import openai as sdk
import pytest
from openai import OpenAI

from jc1 import Preset
from tests.api.conftest import Server
from tests.support.sent_pictures import asked, data_url, png

HELLO = [{"role": "user", "content": "Hello there."}]


def test_a_plain_reply(openai: OpenAI) -> None:
    reply = openai.chat.completions.create(model="echo", messages=HELLO)
    assert reply.choices[0].message.content == "Hello there."
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.completion_tokens == len("Hello there.") + 1
    assert reply.model_extra["jc1"]["remembered"] is True


def test_a_stream(openai: OpenAI) -> None:
    stream = openai.chat.completions.create(
        model="echo", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Hello there."
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].usage.completion_tokens == len("Hello there.") + 1
    assert chunks[-1].model_extra["jc1"]["trace_id"]


def test_pictures_in_chat_and_in_responses_streamed_and_whole(openai: OpenAI) -> None:
    url = data_url(png())
    chat: Any = asked(url, data_url(png(7, 9)), text="Compare.")
    reply = openai.chat.completions.create(model="echo", messages=[chat])
    assert reply.choices[0].message.content == "Compare.\n[picture 40x20]\n[picture 7x9]"
    chunks = openai.chat.completions.create(model="echo", messages=[chat], stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == reply.choices[0].message.content
    parts: Any = [{"type": "input_text", "text": "What?"}, {"type": "input_image", "image_url": url, "detail": "low"}]
    response = openai.responses.create(model="echo", input=[{"role": "user", "content": parts}])
    assert response.output_text == "What?\n[picture 40x20]"
    with pytest.raises(sdk.BadRequestError) as refused:
        openai.chat.completions.create(model="echo", messages=[asked("https://127.0.0.1/a.png")])  # type: ignore[list-item]
    assert refused.value.code == "address_refused"


def test_the_clients_own_accumulator_puts_a_stream_together(openai: OpenAI) -> None:
    with openai.chat.completions.stream(model="echo", messages=HELLO, logprobs=True, top_logprobs=1) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert "".join(deltas) == "Hello there."
    assert final.choices[0].message.content == "Hello there."
    assert len(final.choices[0].logprobs.content) == len("Hello there.")


def test_a_reply_goes_back_into_the_conversation_as_the_client_has_it(openai: OpenAI) -> None:
    whole = openai.chat.completions.create(model="echo", messages=HELLO).choices[0].message
    with openai.chat.completions.stream(model="echo", messages=HELLO) as stream:
        streamed = stream.get_final_completion().choices[0].message
    refused = whole.model_copy(update={"content": None, "refusal": "I cannot say that."})
    noted = whole.model_copy(update={"annotations": []})
    for reply in (whole, streamed, refused, noted):
        for sent in (reply, reply.model_dump(), reply.model_dump(exclude_unset=True), reply.to_dict()):
            messages = [*HELLO, sent, {"role": "user", "content": "Go on."}]
            again = openai.chat.completions.create(model="echo", messages=messages, extra_body={"memory": "off"})
            assert again.choices[0].message.content == "Go on."


def test_several_choices_with_logprobs(openai: OpenAI) -> None:
    reply = openai.chat.completions.create(
        model="echo", messages=HELLO, n=3, temperature=1, seed=1, logprobs=True, top_logprobs=2
    )
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert all(len(t.top_logprobs) == 2 for choice in reply.choices for t in choice.logprobs.content)


def test_jc1s_fields_go_in_the_extra_body(openai: OpenAI) -> None:
    extra = {"session": "s", "memory": "on"}
    openai.chat.completions.create(
        model="echo", messages=[{"role": "user", "content": "My cat is called Ada."}], extra_body=extra
    )
    reply = openai.chat.completions.create(
        model="echo",
        messages=[{"role": "user", "content": "What is my cat called?"}],
        extra_body={"session": "t", "memory": "read", "top_k": 3},
    )
    assert reply.model_extra["jc1"]["recalled"][0]["session"] == "s"


def test_models_are_listed_and_picked(openai: OpenAI, server: Server) -> None:
    server.workbench.presets.set_alias("champion", server.workbench.presets.save(Preset("short")).reference)
    names = [model.id for model in openai.models.list()]
    assert names[0] == "echo"
    assert {"echo@default", "echo@short", "echo@champion"} <= set(names)
    assert openai.models.retrieve("echo@champion").model_extra["jc1"]["preset"] == "short@1"
    assert openai.chat.completions.create(model="echo@champion", messages=HELLO).choices


@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_the_clients_own(openai: OpenAI, stream: bool) -> None:
    with pytest.raises(sdk.BadRequestError) as bad:
        openai.chat.completions.create(model="echo", messages=HELLO, temperature=-1, stream=stream)
    assert (bad.value.code, bad.value.param, bad.value.type) == (
        "invalid_decoding",
        "temperature",
        "invalid_request_error",
    )
    with pytest.raises(sdk.NotFoundError) as unknown:
        openai.chat.completions.create(model="gpt-5", messages=HELLO, stream=stream)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(sdk.APIStatusError) as large:
        openai.chat.completions.create(
            model="echo", messages=[{"role": "user", "content": "x" * 10_000_000}], stream=stream
        )
    assert (large.value.status_code, large.value.code) == (413, "request_too_large")
    with pytest.raises(sdk.BadRequestError) as tools:
        openai.chat.completions.create(
            model="echo", messages=HELLO, stream=stream, tools=[{"type": "function", "function": {"name": "a b"}}]
        )
    assert tools.value.param == "tools"


async def test_the_async_client_reads_many_streams_at_once(server: Server) -> None:
    async with sdk.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:

        async def one(number: int) -> str:
            stream = await client.chat.completions.create(
                model="echo",
                messages=[{"role": "user", "content": f"I am {number}."}],
                stream=True,
                extra_body={"memory": "off"},
            )
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        assert await asyncio.gather(*map(one, range(20))) == [f"I am {i}." for i in range(20)]


def test_a_response(openai: OpenAI) -> None:
    response = openai.responses.create(model="echo", input="Hello there.", instructions="Be brief.")
    assert (response.output_text, response.status) == ("Hello there.", "completed")
    assert response.usage is not None
    assert response.usage.output_tokens == len("Hello there.") + 1
    assert response._request_id == response.model_extra["jc1"]["trace_id"]


def test_a_response_is_put_together_by_the_clients_own_accumulator(openai: OpenAI) -> None:
    with openai.responses.stream(model="echo", input="Hello there.") as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(deltas) == final.output_text == "Hello there."


def test_what_a_response_holds_goes_back_as_it_is(openai: OpenAI) -> None:
    weather: dict[str, Any] = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}
    asked: Any = {"role": "user", "content": 'weather {"city": "Oslo"}'}
    with openai.responses.stream(model="echo", input=[asked], tools=[weather]) as stream:
        first = stream.get_final_response()
    (call,) = first.output
    assert (call.type, call.name, call.arguments) == ("function_call", "weather", '{"city": "Oslo"}')
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "Rain."}
    second = openai.responses.create(model="echo", input=[asked, call.model_dump(), output], tools=[weather])
    assert second.output_text == "Rain."
    history = [asked, *first.output, output, *second.output, {"role": "user", "content": "Thanks."}]
    assert openai.responses.create(model="echo", input=history).output_text == "Thanks."


def test_what_has_no_store_is_refused_loudly(openai: OpenAI) -> None:
    with pytest.raises(sdk.BadRequestError) as refused:
        openai.responses.create(model="echo", input="Hi.", previous_response_id="resp_1")
    assert refused.value.param == "previous_response_id"
