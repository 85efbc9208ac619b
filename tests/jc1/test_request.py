"""What a request may send, and the one precedence: a request before its preset, that before the settings."""

from __future__ import annotations

from typing import get_args

import pytest

from jc1 import Preset, Settings
from jc1.decoding import Decoding
from jc1.engines.echo import EchoEngine
from jc1.errors import EmptyMessage, InvalidDecoding, InvalidRequest, RequestTooLarge
from jc1.memory.base import Retrieval
from jc1.messages import AudioPart, ImagePart, Message, TextPart
from jc1.prepare import TokenCache
from jc1.prompt import DEFAULT_SYSTEM
from jc1.request import RESOLVED_SETTINGS, MemoryMode, Request, Resolved, check_limits, conversation, resolve

SETTINGS = Settings(memory_k=5, memory_window=2)
PRESET = Preset("own", system="Be brief.", decoding={"temperature": 0.5, "top_p": 0.9}, retrieval={"k": 3})


def test_what_nobody_says_is_the_settings_or_jc1s_own() -> None:
    resolved = resolve(Preset("plain"), SETTINGS)
    assert resolved.system == DEFAULT_SYSTEM
    assert resolved.retrieval == Retrieval(k=5, window=2)
    assert (resolved.decoding.temperature, resolved.decoding.max_tokens) == (0, 256)
    assert resolve(Preset("plain"), Settings(max_reply_tokens=100)).decoding.max_tokens == 100


def test_a_preset_goes_before_the_settings_and_a_request_before_the_preset() -> None:
    resolved = resolve(PRESET, SETTINGS, decoding={"temperature": 0.8, "max_tokens": 9}, system="Be long.")
    assert resolved.system == "Be long."
    assert resolved.retrieval == Retrieval(k=3, window=2)
    assert resolved.decoding.chosen == {"temperature": 0.8, "top_p": 0.9, "max_tokens": 9}
    assert resolve(PRESET, SETTINGS).system == "Be brief."


def test_without_memory_nothing_else_of_retrieval_means_anything() -> None:
    for preset, memory in ((PRESET, "off"), (Preset("none", retrieval={"k": 0, "window": 4}), "on")):
        assert resolve(preset, SETTINGS, memory=memory).retrieval == Retrieval(k=0)  # type: ignore[arg-type]
    assert resolve(PRESET, SETTINGS, memory="read").retrieval.k == 3


def test_what_no_engine_could_decode_is_refused_and_so_is_more_than_the_settings_allow() -> None:
    with pytest.raises(InvalidDecoding, match="temperature"):
        resolve(PRESET, SETTINGS, decoding={"temperature": -1})
    decoding = resolve(PRESET, SETTINGS, decoding={"n": 9}).decoding
    with pytest.raises(InvalidRequest, match=r"'n' is 9 and at most 8 are allowed \(max_n\)") as caught:
        check_limits(decoding, SETTINGS, PRESET, {"n"})
    assert caught.value.param == "n"
    check_limits(decoding, Settings(max_n=9), PRESET, {"n"})


@pytest.mark.parametrize(
    ("field", "value", "settings", "setting"),
    [
        ("max_tokens", 90, Settings(max_reply_tokens=50), "max_reply_tokens"),
        ("n", 9, SETTINGS, "max_n"),
        ("beam_width", 9, SETTINGS, "max_n"),
    ],
)
def test_a_preset_that_asks_for_more_than_the_settings_allow_is_to_blame_itself(
    field: str, value: int, settings: Settings, setting: str
) -> None:
    preset = Preset("long", decoding={field: value, **({"temperature": 1} if field == "n" else {})}, version=3)
    said = rf"The preset long@3 says {field} {value} and the setting {setting} allows at most \d+: send '{field}'"
    with pytest.raises(InvalidRequest, match=said) as caught:
        check_limits(resolve(preset, settings).decoding, settings, preset)
    assert caught.value.param == "preset"
    check_limits(resolve(preset, settings, decoding={field: 1}).decoding, settings, preset, {field})


def test_the_settings_that_a_result_keeps_are_all_it_takes_to_resolve_it_again() -> None:
    under = Settings(memory_k=7, memory_window=3, max_reply_tokens=99)
    again = Settings(**{name: getattr(under, name) for name in RESOLVED_SETTINGS})
    assert resolve(PRESET, again) == resolve(PRESET, under)
    assert resolve(Preset("plain"), again) == resolve(Preset("plain"), under) != resolve(Preset("plain"), Settings())


@pytest.mark.parametrize("memory", get_args(MemoryMode))
def test_a_text_alone_is_a_conversation_in_every_memory_mode(memory: MemoryMode) -> None:
    assert conversation("Hi", memory, SETTINGS) == (Message.user("Hi"),)


HI, HELLO = Message.user("Hi"), Message.assistant("Hello")
RECORDING = Message.user((TextPart("What is this?"), AudioPart(b"", "audio/wav")))
PICTURE = ImagePart(b"...", "image/png")


@pytest.mark.parametrize(
    ("messages", "memory", "error", "param"),
    [
        ("Hi", "sometimes", InvalidRequest, "memory"),
        ([], "on", InvalidRequest, "messages"),
        ([HI, HELLO], "on", InvalidRequest, "messages"),
        ([Message("assistant", RECORDING.content), HI], "on", InvalidRequest, "messages"),
        ([Message("system", (PICTURE,)), HI], "on", InvalidRequest, "messages"),
        ([HI, Message("assistant", (PICTURE,)), HI], "on", InvalidRequest, "messages"),
        ([Message.user((PICTURE,) * 17)], "on", RequestTooLarge, "messages"),
        ([HI, HELLO, Message.user(" \n")], "on", EmptyMessage, "messages"),
    ],
)
def test_what_is_no_conversation_is_refused_by_the_field_to_blame(
    messages: list[Message], memory: MemoryMode, error: type[InvalidRequest], param: str
) -> None:
    with pytest.raises(error) as refused:
        conversation(messages, memory, SETTINGS)
    assert (type(refused.value), refused.value.param) == (error, param)


def test_a_picture_alone_is_a_question_and_nothing_is_recalled_for_it() -> None:
    (message,) = conversation([Message.user((PICTURE,))], "on", SETTINGS)
    assert message.pictures == (PICTURE,)


def test_what_fills_the_limits_is_served_and_one_more_is_too_large() -> None:
    settings = Settings(max_messages=3, max_body_bytes=1000)
    full = [HI, Message.assistant("x" * 996), HI]
    assert conversation(full, "on", settings) == tuple(full)
    for messages in ([HI, *full[:1], HI, HI], [HI, Message.assistant("x" * 997), HI]):
        with pytest.raises(RequestTooLarge) as refused:
            conversation(messages, "on", settings)
        assert refused.value.param == "messages"


def test_a_request_counts_all_that_is_read_and_tells_whether_memories_are_searched() -> None:
    def request(k: int) -> Request:
        resolved = Resolved("Be brief.", Decoding(), Retrieval(k=k))
        return Request("ann", None, "on", resolved, HI, (HI, HELLO), TokenCache(EchoEngine()), budget=100)

    assert request(1).characters == len("Be brief.HiHiHello")
    assert request(1).recalls is True
    assert request(0).recalls is False
