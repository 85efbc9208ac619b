"""LangChain before a server: what its calls came to, as JSON. `python with_langchain.py URL`."""

import json
import sys

from langchain_core.exceptions import ContextOverflowError
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

URL = sys.argv[1]


@tool
def weather(city: str) -> str:
    """Return the weather of a city."""
    return f"Rain in {city}."


def overflows(model: ChatOpenAI) -> bool:
    """Return whether a prompt that is too long is recognised as one."""
    try:
        model.invoke("blah " * 10_000)
    except ContextOverflowError:
        return True
    return False


chat, responses = (
    ChatOpenAI(model="echo", base_url=f"{URL}/v1", api_key="none", max_retries=0, use_responses_api=newer)
    for newer in (False, True)
)
print(
    json.dumps(
        {
            name: {
                "whole": model.invoke("Hello there.").text,
                "streamed": "".join(chunk.text for chunk in model.stream("Hello there.")),
                "calls": [
                    [call["name"], call["args"]]
                    for call in model.bind_tools([weather]).invoke('weather {"city": "Oslo"}').tool_calls
                ],
                "overflow": overflows(model),
            }
            for name, model in (("chat", chat), ("responses", responses))
        }
    )
)
