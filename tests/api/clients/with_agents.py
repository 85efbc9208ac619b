"""The Agents SDK before a server: what its runs came to, as JSON. `python with_agents.py URL`."""

import asyncio
import json
import sys

from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI
from openai.types.responses import ResponseTextDeltaEvent

URL = sys.argv[1]


@function_tool
def weather(city: str) -> str:
    """Return the weather of a city."""
    return f"Rain in {city}."


async def runs(kind: type) -> dict[str, object]:
    """Return what an agent over one kind of model answers, whole, in a stream, and with a tool's help."""
    async with AsyncOpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0) as client:
        agent = Agent("a", instructions="Be brief.", model=kind(model="echo", openai_client=client), tools=[weather])
        stream = Runner.run_streamed(agent, "Hello there.")
        deltas = [
            event.data.delta
            async for event in stream.stream_events()
            if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent)
        ]
        return {
            "whole": (await Runner.run(agent, "Hello there.")).final_output,
            "streamed": "".join(deltas),
            "with a tool": (await Runner.run(agent, 'weather {"city": "Oslo"}')).final_output,
        }


set_tracing_disabled(True)
print(
    json.dumps(
        {
            "responses": asyncio.run(runs(OpenAIResponsesModel)),
            "chat": asyncio.run(runs(OpenAIChatCompletionsModel)),
        }
    )
)
