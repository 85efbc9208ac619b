"""The dashboard: what ended is drawn, what is under way is counted, and the figure stays small."""

from __future__ import annotations

import asyncio

import plotly.graph_objects as go
import plotly.io as pio
import pytest

from jc1_lab.latency.load import Sample, Timing, drive
from jc1_lab.latency.measure import Objective
from jc1_lab.plots.dashboard import Dashboard, bundle, watch
from jc1_lab.records.results import Load

OBJECTIVE = Objective(ttft=0.3)


def sample(at: float, ttft: float = 0.1, tokens: int = 5, outcome: str = "ok") -> Sample:
    stages = {"tokenize": 0.01, "recall": 0.02, "queue": 0.1, "prefill": ttft, "decode": 0.4}
    return Sample(at, at, at + ttft + 0.4, ttft, tokens, stages, outcome=outcome)


def shown(*samples: Sample, objective: Objective | None = OBJECTIVE) -> tuple[Dashboard, go.Figure]:
    dashboard = Dashboard("Closed loop", objective=objective)
    for one in samples:
        dashboard.sent(one.sent)
        dashboard.ended(one)
    return dashboard, dashboard.draw()


def trace(figure: go.Figure, name: str | None = None, axis: str | None = None) -> go.Scatter | go.Bar:
    """The first trace of that name, on that axis."""
    return next(t for t in figure.data if name in (None, t.name) and axis in (None, t.xaxis))


def test_it_can_be_shown_before_anything_ended() -> None:
    _, figure = shown()
    assert "0 requests ended" in figure.layout.title.subtitle.text
    assert "Closed loop" in figure.layout.title.text


def test_each_request_is_a_dot_where_it_ended() -> None:
    _, figure = shown(sample(0.0), sample(1.0, ttft=0.5), sample(2.0, outcome="engine_failed"))
    kept, missed = trace(figure, "kept the objective", "x"), trace(figure, "missed it", "x")
    assert (list(kept.x), list(kept.y)) == ([0.5], [100.0])
    assert (list(missed.x), list(missed.y)) == ([1.9], [500.0])
    assert list(trace(figure, "failed").text) == ["engine_failed"]
    told = figure.layout.title.subtitle.text
    assert "3 requests ended, 1 failed" in told
    assert "slowest 500 ms" in told


def test_without_an_objective_nothing_is_said_to_be_missed() -> None:
    _, figure = shown(sample(0.0, ttft=99.0), objective=None)
    assert {"missed it", "limit"}.isdisjoint({t.name for t in figure.data})
    assert "goodput" not in figure.layout.title.subtitle.text


def test_drawing_again_shows_what_ended_since_and_nothing_twice() -> None:
    dashboard, figure = shown(sample(0.0))
    before = len(figure.data)
    dashboard.ended(sample(1.0))
    assert dashboard.draw() is figure
    assert len(figure.data) == before
    assert len(trace(figure, "kept the objective", "x").x) == 2


def test_tokens_are_counted_in_the_time_in_which_they_were_written() -> None:
    samples = [sample(at / 10, tokens=at % 7) for at in range(100)]
    _, figure = shown(*samples)
    bars = trace(figure, axis="x3")
    assert sum(bars.y) * (bars.x[1] - bars.x[0]) == pytest.approx(sum(one.tokens for one in samples), rel=0.01)


def test_stages_stack_to_their_sum() -> None:
    _, figure = shown(sample(0.0), sample(0.1))
    stack = [t for t in figure.data if t.xaxis == "x5"]
    assert [t.name for t in stack] == ["read", "memory", "queue", "prefill", "decode"]
    assert sum(sum(t.y) for t in stack) == pytest.approx(630.0)


async def test_it_follows_a_load_and_shows_requests_in_flight() -> None:
    release = asyncio.Event()
    drawn: list[int] = []
    dashboard = Dashboard("Open loop")

    async def send(call: int) -> Timing:
        await release.wait()
        return Timing(0.1, 0.2, 3)

    def show(figure: go.Figure) -> None:
        drawn.append(dashboard.in_flight)
        if dashboard.in_flight == 3:
            release.set()

    work = drive(send, range(5), Load(concurrency=3), watcher=dashboard)
    samples = await watch(work, dashboard, show, every=0.01)
    assert len(samples) == 5
    assert (max(drawn), drawn[-1]) == (3, 0)
    assert max(trace(dashboard.figure, axis="x4").y) == 3


async def test_leaving_early_ends_the_work_first() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    watching = asyncio.create_task(watch(work(), Dashboard("t"), lambda figure: watching.cancel(), every=0.01))
    with pytest.raises(asyncio.CancelledError):
        await watching
    assert ended.is_set()


def test_a_long_load_makes_a_small_figure() -> None:
    _, figure = shown(*(sample(at / 10) for at in range(600)))
    assert len(figure.to_json()) < 100_000


@pytest.mark.parametrize("steps", [1, 2, 399, 400, 401, 799, 800, 801, 5000])
def test_requests_in_flight_are_at_most_400_points_from_first_to_last_and_none_twice(steps: int) -> None:
    dashboard, _ = shown()
    for at in range(1, steps):
        dashboard.sent(float(at))
    points = list(trace(dashboard.draw(), axis="x4").x)
    assert len(points) == steps if steps <= 400 else 200 <= len(points) <= 400
    assert (points[0], points[-1]) == (0.0, steps - 1)
    assert points == sorted(set(points))


def test_a_notebook_gets_the_figure_as_plain_json_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pio.renderers, "default", "plotly_mimetype")  # as in a notebook
    _, figure = shown(sample(0.0))
    found = bundle(figure)
    assert found.keys() == {"application/vnd.plotly.v1+json"}
    assert len(str(found)) < 30_000
