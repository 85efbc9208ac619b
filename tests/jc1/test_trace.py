"""What a trace adds up to."""

import json

import pytest

from jc1.trace import STAGES, Trace, Usage


def test_stages_come_in_the_order_of_the_request_path_and_are_summed() -> None:
    trace = Trace(owner="o")
    trace.add("decode", 2.0, 0.5)
    trace.add("recall", 1.0, 0.25)
    trace.add("decode", 3.0, 0.5)
    assert list(trace.stages.items()) == [("recall", 0.25), ("decode", 1.0)]


def test_a_stage_is_timed_even_when_it_fails() -> None:
    trace = Trace(owner="o")
    with pytest.raises(KeyError), trace.stage("prompt"):
        raise KeyError
    assert [span.stage for span in trace.spans] == ["prompt"]


def test_a_stage_outside_the_request_path_is_refused() -> None:
    with pytest.raises(ValueError, match="ponder"):
        Trace(owner="o").add("ponder", 0, 0)


def test_speed_counts_the_tokens_after_the_first() -> None:
    trace = Trace(owner="o", usage=Usage(prompt_tokens=5, completion_tokens=11))
    assert trace.tokens_per_second is None
    trace.add("decode", 0.0, 2.0)
    assert trace.tokens_per_second == 5.0


def test_a_trace_is_plain_json() -> None:
    trace = Trace(owner="o", session="s")
    for stage in STAGES:
        trace.add(stage, 0.0, 0.001)
    written = json.loads(json.dumps(trace.to_dict()))
    assert list(written["stages"]) == list(STAGES)
    assert written["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
