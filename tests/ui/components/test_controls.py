"""The decoding controls: what is offered, and what a request is told of them."""

from typing import Any

import pytest

from jc1.decoding import Decoding
from jc1.engines.base import Capabilities
from jc1_ui.components import controls

ALL = frozenset(Decoding.model_fields)


def shown(decoding: frozenset[str] = ALL, base: Decoding | None = None, **limits: int) -> dict[str, dict[str, Any]]:
    capabilities = Capabilities(decoding=decoding, context_length=limits.get("context_length", 8192))
    values = controls.values_of(base or Decoding())
    updates = controls.show(values, capabilities, max_tokens=limits.get("max_tokens", 4096))
    return dict(zip(controls.FIELDS, updates, strict=True))


def test_there_is_a_component_for_each_field_and_its_range_is_valid() -> None:
    assert len(controls.build()) == len(controls.FIELDS)
    for slider in controls.SLIDERS:
        for value in (slider.minimum, slider.maximum):
            assert getattr(Decoding.parse({slider.field: value}), slider.field) == value


def test_only_what_the_engine_honours_is_visible() -> None:
    updates = shown(ALL - {"min_p", "seed"})
    assert [field for field in controls.FIELDS if not updates[field]["visible"]] == ["min_p", "seed"]


def test_the_presets_values_are_shown() -> None:
    updates = shown(base=Decoding(temperature=0.8, top_p=0.95, seed=7))
    assert [updates[field]["value"] for field in ("temperature", "top_p", "seed", "top_k")] == [0.8, 0.95, 7, 0]


@pytest.mark.parametrize(("context", "allowed", "most"), [(2048, 4096, 2048), (8192, 512, 512)])
def test_no_more_tokens_can_be_asked_than_fit_and_are_allowed(context: int, allowed: int, most: int) -> None:
    assert shown(context_length=context, max_tokens=allowed)["max_tokens"]["maximum"] == most


def test_a_range_grows_to_a_value_outside_it_and_no_further() -> None:
    beyond = {"top_k": 500, "top_p": 0.01, "repetition_penalty": 0.2, "max_tokens": 3000}
    updates = shown(base=Decoding(**beyond), max_tokens=1000)
    ranges = {field: (updates[field]["minimum"], updates[field]["maximum"]) for field in beyond}
    assert ranges == {
        "top_k": (0, 500),
        "top_p": (0.01, 1.0),
        "repetition_penalty": (0.2, 2.0),
        "max_tokens": (1, 3000),
    }
    usual = shown()
    for slider in controls.SLIDERS:
        assert (usual[slider.field]["minimum"], usual[slider.field]["maximum"]) == (slider.minimum, slider.maximum)


def test_a_request_is_told_only_what_was_moved_away_from_what_the_controls_were_fitted_to() -> None:
    baseline = controls.values_of(Decoding(temperature=0.8))
    values = list(baseline.values())
    assert controls.changes(values, baseline) == {}
    values[controls.FIELDS.index("temperature")] = 0.0
    values[controls.FIELDS.index("seed")] = 3
    assert controls.changes(values, baseline) == {"temperature": 0.0, "seed": 3}
