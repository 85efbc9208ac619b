"""LlamaIndex before a server: what its calls came to, as JSON. `python with_llama_index.py URL`."""

import json
import sys

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike

URL = sys.argv[1]
HELLO = [ChatMessage(role="user", content="Hello there.")]


def weather(city: str) -> str:
    """Return the weather of a city."""
    return f"Rain in {city}."


model = OpenAILike(
    model="echo",
    api_base=f"{URL}/v1",
    api_key="none",
    is_chat_model=True,
    is_function_calling_model=True,
    max_retries=0,
)
answer = model.chat_with_tools([FunctionTool.from_defaults(weather)], user_msg='weather {"city": "Oslo"}')
print(
    json.dumps(
        {
            "whole": model.chat(HELLO).message.content,
            "streamed": "".join(chunk.delta for chunk in model.stream_chat(HELLO)),
            "calls": [[call.tool_name, call.tool_kwargs] for call in model.get_tool_calls_from_response(answer)],
        }
    )
)
