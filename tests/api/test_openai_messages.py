"""What the pipeline takes a message for that OpenAI's clients send."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from jc1_api.openai_messages import AnyMessage, to_message

ANY: TypeAdapter[Any] = TypeAdapter(AnyMessage)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"content": "Hi.", "refusal": None}, "Hi."),
        ({"content": None, "refusal": "I cannot."}, "I cannot."),
        ({"refusal": "I cannot."}, "I cannot."),
        ({"content": "", "refusal": "I cannot."}, "I cannot."),
        ({"content": "Well,", "refusal": "I cannot."}, "Well,\nI cannot."),
        ({"content": [{"type": "text", "text": "Well,"}], "refusal": "I cannot."}, "Well,\nI cannot."),
        ({"content": None, "refusal": ""}, ""),
    ],
)
def test_a_refusal_is_what_the_assistant_said(fields: dict[str, Any], said: str) -> None:
    message = to_message(ANY.validate_python({"role": "assistant", **fields}))
    assert (message.role, message.text) == ("assistant", said)
