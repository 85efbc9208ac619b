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
from jc1_api.fields import Body, Flag, accepted

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


def chosen(body: Body, settings: Settings, *, without: Collection[str] = ()) -> dict[str, Any]:
    """Return the fields of `Decoding` that a body sets, all but some, with what -1 stands for in its place."""
    off = {"top_k": 0, "seed": None, "max_tokens": settings.max_reply_tokens}
    return {
        name: off[name] if name in OFF and value == -1 else value
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
