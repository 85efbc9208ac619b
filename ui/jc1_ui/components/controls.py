"""The controls of decoding: a slider for each field that the running engine honours.

Knows fields, labels and useful ranges. Knows nothing about how an engine decodes: `jc1.decoding` says what the fields
mean and checks them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from jc1.decoding import Decoding

if TYPE_CHECKING:
    from jc1.engines.base import Capabilities


@dataclass(frozen=True, slots=True)
class Control:
    """One slider: a field of `Decoding`, its label and the range that is useful."""

    field: str
    label: str
    minimum: float
    maximum: float
    step: float


SLIDERS = (
    Control("temperature", "Temperature", 0.0, 2.0, 0.05),
    Control("top_k", "Top k", 0, 200, 1),
    Control("top_p", "Top p", 0.05, 1.0, 0.01),
    Control("min_p", "Min p", 0.0, 1.0, 0.01),
    Control("repetition_penalty", "Repetition penalty", 0.5, 2.0, 0.05),
    Control("max_tokens", "Max tokens", 1, 4096, 1),
)
FIELDS = (*(control.field for control in SLIDERS), "seed")
"""The fields in the order of the components that `build` returns."""


def build() -> list[Any]:
    """Return the components, in the order of `FIELDS`; `show` fits them to the engine."""
    defaults = Decoding()
    sliders = [
        gr.Slider(
            control.minimum,
            control.maximum,
            value=getattr(defaults, control.field),
            step=control.step,
            label=control.label,
            info=_info(control.field),
            buttons=[],
            elem_classes="jc1-slider",
        )
        for control in SLIDERS
    ]
    seed = gr.Number(value=None, label="Seed", info=_info("seed"), precision=0, minimum=0, placeholder="none")
    return [*sliders, seed]


def values_of(decoding: Decoding) -> dict[str, Any]:
    """Return what the components show for a decoding, by field."""
    return {field: getattr(decoding, field) for field in FIELDS}


def show(values: Mapping[str, Any], capabilities: Capabilities, *, max_tokens: int) -> list[Any]:
    """Return updates for the components: the values, and only the fields that the engine honours.

    A range grows to a value outside it: Gradio would refuse every message from a page that shows one.
    """
    updates = []
    for control in SLIDERS:
        value, maximum = values[control.field], control.maximum
        if control.field == "max_tokens":
            maximum = min(max_tokens, capabilities.context_length)
        updates.append(
            gr.update(
                value=value,
                minimum=min(control.minimum, value),
                maximum=max(maximum, value),
                visible=control.field in capabilities.decoding,
            )
        )
    return [*updates, gr.update(value=values["seed"], visible="seed" in capabilities.decoding)]


def changes(values: Sequence[Any], baseline: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that a visitor set to something else than what the preset said, and their values."""
    return {field: value for field, value in zip(FIELDS, values, strict=True) if value != baseline.get(field)}


def _info(field: str) -> str | None:
    return Decoding.model_fields[field].description
