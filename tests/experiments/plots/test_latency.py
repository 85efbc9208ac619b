"""Figures of latency: what more load gains and costs, and which replies were worth having."""

from __future__ import annotations

from jc1_lab.latency.measure import Objective
from jc1_lab.plots.latency import compare_loads, goodput_curve
from jc1_lab.records.results import Latency, Load, Percentiles

OBJECTIVE = Objective(ttft=0.3)


def latency(load: Load, goodput: float = 1.0) -> Latency:
    same = Percentiles(p50=0.1, p90=0.2, p99=0.3)
    return Latency(
        load=load,
        requests=9,
        blocks=1,
        seconds=3.0,
        ttft=same,
        total=same,
        tokens_per_second=40.0,
        requests_per_second=3.0,
        goodput=goodput,
    )


def test_loads_are_compared_by_throughput_and_by_time() -> None:
    figure = compare_loads([latency(Load(concurrency=n)) for n in (1, 4)], title="Closed loop")
    assert figure.layout.xaxis.ticktext == figure.layout.xaxis2.ticktext == ("1", "4")
    assert [list(t.y) for t in figure.data if t.xaxis == "x"] == [[40.0, 40.0]]
    assert sorted(list(t.y) for t in figure.data if t.xaxis == "x2") == [[100.0, 100.0], [200.0, 200.0]]


def test_goodput_stands_beside_all_replies() -> None:
    figure = goodput_curve([latency(Load(rate=rate), good) for rate, good in ((1.0, 1.0), (4.0, 0.5))], OBJECTIVE)
    replies, goodput = figure.data[1:]
    assert (list(goodput.x), list(goodput.y), list(replies.y)) == ([1.0, 4.0], [1.0, 0.5], [3.0, 3.0])
    assert str(OBJECTIVE) in figure.layout.title.subtitle.text
