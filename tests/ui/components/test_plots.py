"""The waterfall: one bar a stage, in the order of the request path, in milliseconds."""

import pytest

from jc1.trace import STAGES, Trace
from jc1_ui.components.plots import COLOURS, duration, waterfall


@pytest.fixture
def trace() -> Trace:
    """Its spans are out of order, and one stage was entered twice."""
    made = Trace(owner="local")
    for stage, start, seconds in [
        ("decode", 0.2, 1.5), ("tokenize", 0.0, 0.001), ("embed", 0.001, 0.03), ("recall", 0.031, 0.004),
        ("prompt", 0.035, 0.01), ("prefill", 0.045, 0.155), ("remember", 1.7, 0.02), ("tokenize", 0.04, 0.002),
    ]:  # fmt: skip
        made.add(stage, start, seconds)
    return made


def test_there_is_one_bar_a_stage_in_the_order_of_the_request_path(trace: Trace) -> None:
    (bars,) = waterfall(trace).data
    assert list(bars.y) == ["tokenize", "embed", "recall", "prompt", "prefill", "decode", "remember"]
    assert list(bars.y) == [stage for stage in STAGES if stage in trace.stages]


def test_bars_begin_and_last_in_milliseconds_and_a_second_entry_is_added(trace: Trace) -> None:
    (bars,) = waterfall(trace).data
    assert list(bars.base) == pytest.approx([0, 1, 31, 35, 45, 200, 1700])
    assert list(bars.x) == pytest.approx([3, 30, 4, 10, 155, 1500, 20])


def test_every_bar_is_labelled_with_its_time(trace: Trace) -> None:
    labels = {note.y: note.text for note in waterfall(trace).layout.annotations}
    assert labels["embed"] == "30 ms"
    assert labels["decode"] == "1.5 s"
    assert set(labels) == set(trace.stages)


def test_the_first_stage_is_on_top_and_the_page_shines_through(trace: Trace) -> None:
    layout = waterfall(trace).layout
    assert layout.yaxis.autorange == "reversed"
    look = layout.template.layout
    assert look.paper_bgcolor == look.plot_bgcolor == "rgba(0,0,0,0)"
    assert layout.xaxis.ticksuffix == " ms"


def test_every_stage_has_a_colour_and_a_trace_without_stages_a_figure() -> None:
    assert set(COLOURS) == set(STAGES)
    assert list(waterfall(Trace(owner="local")).data[0].y) == []


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "0 ms"),
        (0.000_001, "0 ms"),
        (0.000_42, "0.42 ms"),
        (0.0421, "42.1 ms"),
        (0.9, "900 ms"),
        (1.2345, "1.23 s"),
        (123.4, "123 s"),
    ],
)
def test_a_duration_has_three_figures_at_most(seconds: float, said: str) -> None:
    assert duration(seconds) == said
