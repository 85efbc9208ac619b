"""LiteLLM before a server: what its calls came to, as JSON. `python with_litellm.py URL`."""

import json
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the network for prices when it is imported

import litellm

litellm.suppress_debug_info = True  # else it prints where to ask for help

URL = sys.argv[1]
OPENAI = {"model": "openai/echo", "api_base": f"{URL}/v1", "api_key": "none"}
ANTHROPIC = {"model": "anthropic/echo", "api_base": URL, "api_key": "none", "max_tokens": 50}
HELLO = [{"role": "user", "content": "Hello there."}]
LONG = [{"role": "user", "content": "blah " * 10_000}]
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
ASKED = [{"role": "user", "content": 'weather {"city": "Oslo"}'}]


def overflows(**target: object) -> bool:
    """Return whether a prompt that is too long is recognised as one."""
    try:
        litellm.completion(messages=LONG, **target)
    except litellm.ContextWindowExceededError:
        return True
    return False


def streamed(**target: object) -> str:
    """Return the text of a stream."""
    chunks = litellm.completion(messages=HELLO, stream=True, **target)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


(call,) = litellm.completion(messages=ASKED, tools=[WEATHER], **OPENAI).choices[0].message.tool_calls
print(
    json.dumps(
        {
            "whole": litellm.completion(messages=HELLO, **OPENAI).choices[0].message.content,
            "streamed": streamed(**OPENAI),
            "call": [call.function.name, call.function.arguments],
            "response": litellm.responses(input="Hello there.", **OPENAI).output[0].content[0].text,
            "anthropic": litellm.completion(messages=HELLO, **ANTHROPIC).choices[0].message.content,
            "anthropic streamed": streamed(**ANTHROPIC),
            "overflow": [overflows(**OPENAI), overflows(**ANTHROPIC)],
        }
    )
)
