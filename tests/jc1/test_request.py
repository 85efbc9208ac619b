"""The one precedence: a request before its preset, that before the settings."""

import pytest

from jc1 import Preset, Settings
from jc1.errors import InvalidDecoding, InvalidRequest
from jc1.memory.base import Retrieval
from jc1.prompt import DEFAULT_SYSTEM
from jc1.request import check_limits, resolve

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
    with pytest.raises(InvalidRequest, match="'n' is 9 and at most 8"):
        check_limits(decoding, SETTINGS)
    check_limits(decoding, Settings(max_n=9))
