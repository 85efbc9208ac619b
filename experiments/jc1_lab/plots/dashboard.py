"""A dashboard of requests under load: one Plotly figure that grows as they end.

Knows samples and Plotly. Knows nothing about who sends requests or where the figure is shown.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from jc1_lab.latency.load import Sample
from jc1_lab.latency.measure import Objective, percentiles
from jc1_lab.plots.style import BLUE, FAMILIES, GREEN, ORANGE, QUIET, see_through, styled

T = TypeVar("T")

RECENT = 40
"""Requests over which a running percentile goes: fewer would jump, more would lag."""
BINS = 24
"""Slices of time at most, for rates and stages."""
SLICES = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
"""Seconds that a slice may last."""
REDRAW_SECONDS = 0.5
"""Between two drawings: each takes some 20 ms of the loop that also sends."""
HEIGHT = 680


class Dashboard:
    """Times, rates, requests in flight and stages of a load, as it runs.

    Hand it to `drive` as its watcher, and call `draw` as often as the figure is to be shown. With an `objective` it
    tells requests that kept it from those that did not.
    """

    def __init__(self, title: str, *, objective: Objective | None = None) -> None:
        self.samples: list[Sample] = []
        self._title = title
        self._objective = objective
        self._flight: list[tuple[float, int]] = [(0.0, 0)]
        self.figure = styled(
            make_subplots(
                rows=3,
                cols=2,
                specs=[[{}, {}], [{}, {}], [{"colspan": 2}, None]],
                subplot_titles=(
                    "Time to first token, ms",
                    "Time per output token, ms",
                    "Output tokens per second",
                    "Requests in flight",
                    "Where a request's time goes, mean ms by stage",
                ),
                vertical_spacing=0.13,
                horizontal_spacing=0.09,
            ),
            height=HEIGHT,
        )
        self.figure.update_layout(
            margin={"t": 126, "b": 40},
            barmode="stack",
            bargap=0.12,
            legend={"orientation": "h", "x": 0, "y": 1.055, "yanchor": "bottom", "traceorder": "normal"},
            legend2={"orientation": "h", "x": 1, "xanchor": "right", "y": 0.245, "yanchor": "bottom"},
        )
        self.figure.update_annotations(font={"size": 13}, xanchor="left")
        for annotation, axis in zip(self.figure.layout.annotations, ("x", "x2", "x3", "x4", "x5"), strict=True):
            annotation.update(x=self.figure.layout["xaxis" + axis[1:]].domain[0])
        self.figure.update_xaxes(ticksuffix=" s", nticks=8)
        self.draw()

    @property
    def in_flight(self) -> int:
        """Return the number of requests that were sent and have not ended."""
        return self._flight[-1][1]

    def sent(self, at: float) -> None:
        """Note that a request was sent, so many seconds after the beginning."""
        self._flight.append((at, self.in_flight + 1))

    def ended(self, sample: Sample) -> None:
        """Note that a request ended."""
        self.samples.append(sample)
        self._flight.append((max(sample.ended, self._flight[-1][0]), self.in_flight - 1))

    def draw(self) -> go.Figure:
        """Bring the figure up to date, and return it."""
        samples = sorted(self.samples, key=lambda sample: sample.ended)
        good = [sample for sample in samples if sample.ok]
        traces = [
            *self._times(
                good,
                [sample.ttft for sample in good],
                self._objective.ttft if self._objective else None,
                "x",
                legend=True,
            ),
            *self._times(
                spoken := [sample for sample in good if sample.tpot is not None],
                [sample.tpot or 0.0 for sample in spoken],
                self._objective.tpot if self._objective else None,
                "x2",
            ),
            *_failed([sample for sample in samples if not sample.ok]),
            *self._rates(good),
            *_stack(good, self._slice(good)),
        ]
        with self.figure.batch_update():
            self.figure.data = ()
            self.figure.add_traces(traces)
            self.figure.layout.title.update(text=f"<b>{self._title}</b>", subtitle_text=self._caption())
            self.figure.layout.yaxis4.dtick = 1 if max(count for _, count in self._flight) <= 5 else None
            slices = math.ceil(max(self._flight[-1][0], 1.0) / self._slice(good))
            self.figure.update_xaxes(range=[0, slices * self._slice(good)])
        return self.figure

    def _caption(self) -> str:
        good = [sample for sample in self.samples if sample.ok]
        failed = len(self.samples) - len(good)
        parts = [f"{len(self.samples)} requests ended" + (f", {failed} failed" if failed else "")]
        if good:
            ttft = percentiles([sample.ttft for sample in good])
            last = "p99" if len(good) >= 100 else "slowest"
            parts.append(f"first token p50 {_ms(ttft.p50)}, p90 {_ms(ttft.p90)}, {last} {_ms(ttft.p99)}")
            span = max(sample.ended for sample in self.samples)
            rate = f"{len(good) / span:.3g} replies a second"
            if self._objective is not None:
                within = sum(map(self._objective.met_by, good))
                rate += f", goodput {within / span:.3g}"
            parts.append(rate)
        return " · ".join(parts)

    def _times(
        self,
        samples: Sequence[Sample],
        values: Sequence[float],
        limit: float | None,
        axis: str,
        *,
        legend: bool = False,
    ) -> Iterable[go.Scatter]:
        """Yield a dot for each request, running percentiles, and the objective's limit."""
        within = [self._objective is None or self._objective.met_by(sample) for sample in samples]
        name = "request" if self._objective is None else "kept the objective"
        on = {"xaxis": axis, "yaxis": axis.replace("x", "y"), "hoverinfo": "skip", "showlegend": legend}
        for wanted, called, colour in ((True, name, BLUE), (False, "missed it", ORANGE)):
            chosen = [(s.ended, v) for s, v, k in zip(samples, values, within, strict=True) if k is wanted]
            if chosen or wanted:
                yield go.Scatter(
                    x=[_short(at) for at, _ in chosen],
                    y=[_short(value * 1000) for _, value in chosen],
                    mode="markers",
                    name=called,
                    marker={"color": colour, "size": 5, "opacity": 0.55},
                    **on,
                )
        running = [percentiles(values[max(0, i + 1 - RECENT) : i + 1]) for i in range(len(values))]
        for share, dash in (("p50", "solid"), ("p90", "dot")):
            yield go.Scatter(
                x=[_short(sample.ended) for sample in samples],
                y=[_short(getattr(one, share) * 1000) for one in running],
                mode="lines",
                name=f"{share}, last {RECENT}",
                line={"color": QUIET, "width": 2, "dash": dash, "shape": "hv"},
                **on,
            )
        if limit is not None and samples:
            yield go.Scatter(
                x=[0, _short(max(s.ended for s in self.samples))],
                y=[limit * 1000] * 2,
                mode="lines",
                name="limit",
                line={"color": GREEN, "width": 1.5, "dash": "dash"},
                **on,
            )

    def _rates(self, good: Sequence[Sample]) -> Iterable[go.Scatter]:
        width = self._slice(good)
        if good:
            last = math.ceil(max(sample.ended for sample in good) / width)
            counts = [0.0] * max(last, 1)
            for sample in good:
                _spread(counts, width, sample)
            yield go.Bar(
                x=[(i + 0.5) * width for i in range(len(counts))],
                y=[_short(count / width) for count in counts],
                width=width * 0.88,
                marker={"color": BLUE, "opacity": 0.75},
                xaxis="x3",
                yaxis="y3",
                showlegend=False,
                hovertemplate="%{y:.0f} tokens a second<extra></extra>",
            )
        flight = _thinned(self._flight)
        yield go.Scatter(
            x=[_short(at) for at, _ in flight],
            y=[count for _, count in flight],
            mode="lines",
            line={"color": BLUE, "width": 1.5, "shape": "hv"},
            fill="tozeroy",
            fillcolor=see_through(BLUE, 0.15),
            xaxis="x4",
            yaxis="y4",
            showlegend=False,
            hovertemplate="%{y} in flight<extra></extra>",
        )

    def _slice(self, samples: Sequence[Sample]) -> float:
        span = max((sample.ended for sample in samples), default=1.0)
        return next((width for width in SLICES if span / width <= BINS), span / BINS)


def bundle(figure: go.Figure) -> dict[str, Any]:
    """Return the figure for `display(..., raw=True, display_id=True)`, and for `update(..., raw=True)` of what that
    returns.

    A figure handed to `display` as it is cannot be updated: it displays itself, and each time anew.
    """
    return dict(figure._repr_mimebundle_())


async def watch(
    work: Coroutine[Any, Any, T],
    dashboard: Dashboard,
    show: Callable[[go.Figure], object],
    *,
    every: float = REDRAW_SECONDS,
) -> T:
    """Return the result of `work`; until it is done, `show` gets the dashboard's figure again every so many seconds,
    and once more at the end. When this is cancelled, so is the work, and it returns after that has ended."""
    task = asyncio.create_task(work)
    try:
        while not task.done():
            await asyncio.wait([task], timeout=every)
            began = time.perf_counter()
            show(dashboard.draw())
            every = max(every, 10 * (time.perf_counter() - began))  # a figure that grew large is drawn less often
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])


def _failed(samples: Sequence[Sample]) -> Iterable[go.Scatter]:
    if samples:
        yield go.Scatter(
            x=[_short(sample.ended) for sample in samples],
            y=[0] * len(samples),
            mode="markers",
            name="failed",
            marker={"color": ORANGE, "symbol": "x", "size": 8},
            text=[sample.outcome for sample in samples],
            hovertemplate="%{text}<extra></extra>",
            cliponaxis=False,
        )


def _stack(samples: Sequence[Sample], width: float) -> Iterable[go.Bar]:
    """Yield the mean milliseconds of each family of stages, of the requests that ended in each slice of time."""
    slices: dict[int, list[Sample]] = {}
    for sample in samples:
        slices.setdefault(int(sample.ended / width), []).append(sample)
    for family, (colour, stages) in FAMILIES.items():
        means = [
            sum(sample.stages.get(stage, 0.0) for sample in there for stage in stages) / len(there)
            for there in slices.values()
        ]
        if any(mean > 0 for mean in means):
            yield go.Bar(
                x=[(at + 0.5) * width for at in slices],
                y=[_short(mean * 1000) for mean in means],
                width=width * 0.88,
                name=family,
                marker={"color": colour},
                xaxis="x5",
                yaxis="y5",
                legend="legend2",
                hovertemplate="%{y:.0f} ms " + family + "<extra></extra>",
            )


def _spread(counts: list[float], width: float, sample: Sample) -> None:
    """Add the tokens of a sample to the slices of time in which it wrote them, evenly from first to last."""
    begin = sample.planned + sample.ttft
    span = sample.ended - begin
    first = min(int(begin / width), len(counts) - 1)
    for i in range(first, len(counts)):
        inside = min(sample.ended, (i + 1) * width) - max(begin, i * width)
        share = inside / span if span > 0 else float(i == first)
        if share <= 0:
            break
        counts[i] += sample.tokens * share


def _thinned(steps: Sequence[tuple[float, int]], most: int = 400) -> Sequence[tuple[float, int]]:
    """Return the first and the last step, and of those between at most as many as make `most` in all."""
    stride = max(1, math.ceil((len(steps) - 1) / (most - 1)))
    return [*steps[:-1:stride], steps[-1]]


def _short(value: float) -> float:
    """Round to four significant digits, as precise as a figure shows it: a saved notebook holds every digit."""
    return float(f"{value:.4g}")


def _ms(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"
