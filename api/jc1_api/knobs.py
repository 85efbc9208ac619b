"""The fields of `Decoding` as requests have them, and what OpenAI's two completions have in common besides.

Knows their names, and where other servers write "off" as -1. Ranges are `jc1.decoding`'s: they are shown in the schema
here and checked there, once.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pydantic import Field

from jc1.decoding import Decoding
from jc1.errors import InvalidRequest
from jc1.settings import Settings
from jc1_api.fields import Body, Flag, Number, Whole, accepted
from jc1_api.openai_messages import OneOrSeveral

OFF = ("top_k", "seed", "max_tokens")
"""Fields in which other servers take -1 for "off"."""


class StreamOptions(Body):
    """What a stream carries besides the reply."""

    include_usage: Flag | None = Field(None, description="End with a chunk that holds the token counts.")
    include_obfuscation: Flag | None = accepted("there is no obfuscation either way")


def knob(name: str) -> Any:
    """Return an optional field of `Decoding`, with its description and bounds as the schema shows them."""
    shown = Decoding.model_json_schema()["properties"][name]
    bounds = {key: value for key, value in shown.items() if "inimum" in key or "aximum" in key}
    for option in shown.get("anyOf", ()):
        bounds |= {key: value for key, value in option.items() if "inimum" in key or "aximum" in key}
    if name in OFF:
        bounds["minimum"] = -1
    return Field(None, description=shown["description"], json_schema_extra=bounds)


class Sampled(Body):
    """What may be said of how a reply is decoded, whatever is replied to."""

    max_tokens: Whole | None = knob("max_tokens")
    min_tokens: Whole | None = knob("min_tokens")
    temperature: Number | None = knob("temperature")
    top_k: Whole | None = knob("top_k")
    top_p: Number | None = knob("top_p")
    min_p: Number | None = knob("min_p")
    repetition_penalty: Number | None = knob("repetition_penalty")
    presence_penalty: Number | None = knob("presence_penalty")
    frequency_penalty: Number | None = knob("frequency_penalty")
    logit_bias: dict[str, Number] | None = Field(None, description="Added to the logits, by token id; -100 to 100.")
    seed: Whole | None = knob("seed")
    n: Whole | None = knob("n")
    stop: OneOrSeveral | None = Field(None, description="The reply ends before any of these; at most 16.")


def off(name: str, value: Any, settings: Settings) -> Any:
    """Return the value of a field of `Decoding` or, where it is -1 and other servers take that, what it stands for."""
    if name not in OFF or value != -1:
        return value
    return {"top_k": 0, "seed": None, "max_tokens": settings.max_reply_tokens}[name]


def chosen(body: Body, settings: Settings, *, without: Collection[str] = ()) -> dict[str, Any]:
    """Return the fields of `Decoding` that a body sets, all but some, with what -1 stands for in its place."""
    return {
        name: off(name, value, settings)
        for name in Decoding.model_fields.keys() - set(without)
        if (value := getattr(body, name, None)) is not None
    }


def wants_usage(options: StreamOptions | None) -> bool:
    """Return whether a stream is to end with the token counts."""
    return bool(options and options.include_usage)


def check_stream_options(options: Body | None, stream: bool | None) -> None:
    """Raise `InvalidRequest` where a reply that is sent whole has options of a stream."""
    if options is not None and not stream:
        raise InvalidRequest("'stream_options' takes 'stream': true.", param="stream_options")
