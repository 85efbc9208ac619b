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
