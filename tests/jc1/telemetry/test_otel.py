"""Requests as a collector gets them: a real one, over HTTP."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jc1 import Settings, Workbench
from jc1.errors import InvalidSettings
from jc1.telemetry import Telemetry, open_exporter
from jc1.telemetry.context import Current, TraceContext, answering
from jc1.telemetry.otel import Exporter
from jc1.trace import Trace
from tests.jc1.telemetry.test_metrics import finished
from tests.support.chat_server import Stub, serving
from tests.support.collector import Collector, collecting, plain

PARENT = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", state="vendor=1")
SECRET = "My cat is called Quillfeather."


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with serving(Stub()) as running:
        yield running


async def asked(home: Path, stub: Stub, collector: Collector, *, content: bool = False) -> Trace:
    """Ask a remote model through a workbench, as a request with a trace of its own; return when all was sent."""
    settings = Settings(
        home=home,
        engine="openai",
        model="m",
        base_url=stub.url,
        otlp_endpoint=collector.url,
        otel_content=content,
        cache="off",
    )
    async with Workbench.open(settings) as bench:
        await bench.pipeline.chat(SECRET, owner="ann")
        with answering(Current("req_1", PARENT)):
            return (await bench.pipeline.chat(SECRET, owner="ann", session="cats", top_k=5)).trace


async def test_a_request_is_a_tree_of_spans_from_whoever_asked_to_whom_is_asked(
    home: Path, stub: Stub, collector: Collector
) -> None:
    stub.models = [{"id": "m", "max_model_len": 512, "jc1": {"decoding": ["top_k", "max_tokens"]}}]
    trace = await asked(home, stub, collector)
    spans = collector.spans
    # 1) The tree
    below = {name: span.parent_span_id.hex() for name, span in spans.items()}
    root, inference = spans["jc1.request"], spans["chat m"]
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (PARENT.trace_id, PARENT.span_id)
    assert {name for name, parent in below.items() if parent == root.span_id.hex()} == {
        *("tokenize", "retrieval", "prompt", "chat m", "upsert_memory"),
    }
    assert {name for name, parent in below.items() if parent == spans["retrieval"].span_id.hex()} == {
        *("embed", "search_memory"),
    }
    assert {name for name, parent in below.items() if parent == inference.span_id.hex()} == {
        *("queue", "prefill", "decode"),
    }
    for span in spans.values():
        assert root.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= root.end_time_unix_nano + 1_000_000
    # 2) What the conventions ask for
    attributes = plain(inference.attributes)
    assert attributes["gen_ai.operation.name"] == "chat"
    assert attributes["gen_ai.provider.name"] == "openai"
    assert attributes["gen_ai.request.model"] == attributes["gen_ai.response.model"] == "m"
    assert attributes["gen_ai.request.top_k"] == 5
    assert attributes["gen_ai.conversation.id"] == "cats"
    assert attributes["gen_ai.response.id"] == trace.id
    assert attributes["gen_ai.response.finish_reasons"] == ["stop"]
    assert (attributes["gen_ai.usage.input_tokens"], attributes["gen_ai.usage.output_tokens"]) == (11, 2)
    assert attributes["gen_ai.response.time_to_first_chunk"] > 0
    assert inference.kind == inference.SPAN_KIND_CLIENT
    assert root.kind == root.SPAN_KIND_SERVER
    assert plain(spans["search_memory"].attributes)["gen_ai.memory.record.count"] == len(trace.recalled) == 2
    assert plain(spans["upsert_memory"].attributes)["gen_ai.memory.record.count"] == 2
    # 3) What the server behind was told
    told = stub.headers[-1]
    assert told["traceparent"] == f"00-{PARENT.trace_id}-{inference.span_id.hex()}-01"
    assert told["tracestate"] == "vendor=1"
    alone = stub.headers[-2]["traceparent"]
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", alone)
    assert PARENT.trace_id not in alone
    # 4) What was not asked for
    assert {resource["jc1.semconv.gen_ai"] for resource in collector.resources} == {"0.1.0"}
    assert b"Quillfeather" not in collector.raw
    assert b"hello" not in collector.raw


async def test_texts_are_sent_where_that_was_asked_for_and_are_not_kept(
    home: Path, stub: Stub, collector: Collector
) -> None:
    trace = await asked(home, stub, collector, content=True)
    attributes = plain(collector.spans["chat m"].attributes)
    assert SECRET in json.loads(attributes["gen_ai.input.messages"])[-1]["parts"][0]["content"]
    assert json.loads(attributes["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "hello"}], "finish_reason": "stop"}
    ]
    assert trace.content is None


def sent(collector: Collector, *traces: Trace) -> Collector:
    exporter = Exporter(collector.url)
    for trace in traces:
        exporter.export(trace)
    exporter.close()
    return collector


def point(collector: Collector, name: str) -> Any:
    metric = collector.metrics[name]
    (only,) = getattr(metric, metric.WhichOneof("data")).data_points
    return only


def test_metrics_are_those_of_the_conventions(collector: Collector) -> None:
    first, second = finished(), finished()
    for trace in (first, second):
        trace.spans.insert(2, type(trace.spans[0])("queue", 0.01, 0.0))
        trace.spans.insert(3, type(trace.spans[0])("prefill", 0.01, 0.04))
    sent(collector, first, second)
    served = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "echo",
        "gen_ai.request.model": "echo",
        "gen_ai.response.model": "echo",
    }
    for name, total in (("input", 80), ("output", 42)):
        counter = point(collector, f"gen_ai.client.inference.usage.{name}_tokens")
        assert counter.as_int == total
        assert plain(counter.attributes) == {**served, "gen_ai.token.modality": "text"}
    for name, seconds in (("duration", 0.4), ("time_to_first_chunk", 0.1), ("time_per_output_chunk", 0.02)):
        histogram = point(collector, f"gen_ai.client.inference.{name}")
        assert (histogram.count, histogram.sum) == (2, pytest.approx(seconds)), name
        assert plain(histogram.attributes) == served
        assert (histogram.explicit_bounds[0], histogram.explicit_bounds[-1]) == (0.01, 81.92)
    assert point(collector, "gen_ai.retrieval.duration").count == 2


def test_what_failed_says_why_and_what_was_cached_asked_no_engine(collector: Collector) -> None:
    failed, cached = finished(outcome="engine_failed"), finished(cached=True)
    sent(collector, failed)
    span = collector.spans["jc1.request"]
    assert span.status.code == span.status.STATUS_CODE_ERROR
    assert plain(span.attributes)["error.type"] == "engine_failed"
    assert plain(point(collector, "gen_ai.client.inference.duration").attributes)["error.type"] == "engine_failed"
    collector.spans.clear()
    collector.metrics.clear()
    sent(collector, cached)
    assert plain(collector.spans["jc1.request"].attributes)["jc1.cached"] is True
    assert "chat echo" not in collector.spans
    assert not any("inference" in name for name in collector.metrics)


def test_a_span_that_its_asker_does_not_sample_is_not_sent(collector: Collector) -> None:
    unsampled = finished()
    unsampled.parent = TraceContext(PARENT.trace_id, PARENT.span_id, sampled=False)
    sent(collector, unsampled)
    assert not collector.spans


def test_a_collector_that_is_away_costs_a_request_nothing_and_the_end_no_more_than_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jc1.telemetry.otel.EXPORT_SECONDS", 0.2)
    exporter = Exporter("http://127.0.0.1:9")  # discard: nobody listens
    began = time.perf_counter()
    for _ in range(100):
        exporter.export(finished())
    assert time.perf_counter() - began < 1
    exporter.close()
    assert time.perf_counter() - began < 5


def test_without_a_collector_nothing_is_imported_and_a_trace_passes_through(home: Path) -> None:
    code = "import sys, jc1.telemetry as t, jc1; t.open_exporter(jc1.Settings()); print('opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    telemetry = Telemetry(exporter=open_exporter(Settings(home=home)))
    assert telemetry.headers_behind(telemetry.begin(owner="ann")) == {}
    with answering(Current("req_1", PARENT)):
        assert telemetry.headers_behind(telemetry.begin(owner="ann")) == PARENT.headers


def test_without_its_packages_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(InvalidSettings, match="otel"):
        Exporter("http://127.0.0.1:4318")


@pytest.mark.parametrize("value", ["localhost:4318", "ftp://localhost", "http://"])
def test_an_endpoint_is_a_url(value: str) -> None:
    with pytest.raises(ValueError, match="http://HOST:4318"):
        Settings(otlp_endpoint=value)
