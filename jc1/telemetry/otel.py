"""OpenTelemetry: finished requests as spans and metrics, sent to a collector over OTLP/HTTP.

Knows OpenTelemetry's SDK, and which metrics a request adds to. What its spans are called, `jc1.telemetry.conventions`
says. Both are made from the finished trace in a thread of their own: a request waits for none of it. How much is kept
while the collector is away, with which headers it is asked, and what is said of this machine, the SDK reads from
variables of its own (`OTEL_BSP_MAX_QUEUE_SIZE`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_RESOURCE_ATTRIBUTES` ...).
"""

from __future__ import annotations

import logging
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from jc1 import __version__
from jc1.errors import InvalidSettings
from jc1.telemetry.conventions import (
    ERROR,
    INFERENCE,
    OPERATION,
    PROVIDER,
    RETRIEVAL,
    SEMCONV,
    Node,
    first_chunk,
    inference_of,
    spanning,
    tree_of,
)
from jc1.trace import Content, Trace

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram, Meter

log = logging.getLogger(__name__)

EXPORT_SECONDS = 5
"""How long the collector may take to answer, also when JC1 closes."""
SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""The bounds of the conventions' histograms of times."""
NANO = 1_000_000_000


class Exporter:
    """Sends finished requests to the collector at `endpoint`; with `content`, what was asked and replied too.

    Raises:
        InvalidSettings: OpenTelemetry's SDK is not installed.
    """

    def __init__(self, endpoint: str, *, content: bool = False) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.metrics import MeterProvider
            from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ModuleNotFoundError:
            raise InvalidSettings("otlp_endpoint takes its extra: pip install -e '.[otel]' in JC1's folder.") from None
        self.content = content
        resource = Resource.create(
            {
                "service.name": "jc1",
                "service.version": __version__,
                "service.instance.id": str(uuid.uuid4()),
                "jc1.semconv.gen_ai": SEMCONV,
            }
        )
        spans = OTLPSpanExporter(f"{endpoint}/v1/traces", timeout=EXPORT_SECONDS)
        figures = OTLPMetricExporter(f"{endpoint}/v1/metrics", timeout=EXPORT_SECONDS)
        self._ids = _ids()
        self._traces = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        self._traces.add_span_processor(BatchSpanProcessor(spans))
        self._meters = MeterProvider(
            [PeriodicExportingMetricReader(figures)], resource=resource, shutdown_on_exit=False
        )
        self._tracer = self._traces.get_tracer("jc1", __version__)
        self._instruments = _Instruments(self._meters.get_meter("jc1", __version__))
        self._thread = ThreadPoolExecutor(1, "jc1-otel")
        self._closed = False

    def export(self, trace: Trace, content: Content | None = None) -> None:
        """Send a finished request, in a while; nothing once this is closed."""
        if not self._closed:
            self._thread.submit(self._export, trace, content).add_done_callback(_log_failure)

    def close(self) -> None:
        """Send what is still to be sent, or give it up where the collector does not answer."""
        self._closed = True
        self._thread.shutdown()
        self._traces.shutdown()
        self._meters.shutdown(EXPORT_SECONDS * 1000)

    def _export(self, trace: Trace, content: Content | None) -> None:
        from opentelemetry.trace import SpanKind

        self._instruments.record(trace)
        self._ids.trace_id = int(trace.trace_id, 16)
        began = int(trace.created.timestamp() * NANO)
        kind = SpanKind.INTERNAL if trace.parent is None else SpanKind.SERVER
        self._emit(tree_of(trace, content), began, _remote(trace), kind)

    def _emit(self, node: Node, began: int, context: Any, kind: Any = None) -> None:
        """Make a span, and those below it."""
        from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context

        self._ids.span_id = int(node.span_id, 16) if node.span_id else None
        span = self._tracer.start_span(
            node.name,
            context,
            kind or (SpanKind.CLIENT if node.client else SpanKind.INTERNAL),
            dict(node.attributes),
            start_time=began + int(node.start * NANO),
        )
        if ERROR in node.attributes:
            span.set_status(StatusCode.ERROR)
        for below in node.below:
            self._emit(below, began, set_span_in_context(span))
        span.end(began + int((node.start + node.seconds) * NANO))


class _Instruments:
    """The conventions' metrics of what JC1 knows. It is told neither cached nor reasoning tokens by its engines."""

    def __init__(self, meter: Meter) -> None:
        def seconds(name: str, what: str) -> Histogram:
            return meter.create_histogram(name, "s", what, explicit_bucket_boundaries_advisory=SECONDS)

        self._duration = seconds("gen_ai.client.inference.duration", "What the engine took for a request.")
        self._first = seconds("gen_ai.client.inference.time_to_first_chunk", "Until the engine's first token.")
        self._each = seconds(
            "gen_ai.client.inference.time_per_output_chunk", "Between output tokens: one mean for each reply."
        )
        self._retrieval = seconds("gen_ai.retrieval.duration", "What embedding and searching took.")
        self._input = meter.create_counter("gen_ai.client.inference.usage.input_tokens", "{token}", "Tokens read.")
        self._output = meter.create_counter("gen_ai.client.inference.usage.output_tokens", "{token}", "Tokens written.")

    def record(self, trace: Trace) -> None:
        """Add a finished request."""
        if retrieval := spanning(trace, RETRIEVAL):
            self._retrieval.record(retrieval.seconds, {OPERATION: "retrieval"})
        inference = spanning(trace, INFERENCE)
        if inference is None or trace.cached:
            return
        attributes = inference_of(trace)
        served = {name: value for name, value in attributes.items() if name != ERROR}
        self._duration.record(inference.seconds, attributes)
        if (first := first_chunk(trace, inference)) is not None:
            self._first.record(first, served)
        if rate := trace.tokens_per_second:
            self._each.record(1 / rate, served)
        used = {name: served[name] for name in (OPERATION, PROVIDER, "gen_ai.request.model", "gen_ai.response.model")}
        text = {**used, "gen_ai.token.modality": "text"}
        self._input.add(trace.usage.prompt_tokens, text)
        self._output.add(trace.usage.completion_tokens, text)


def _log_failure(done: Future[None]) -> None:
    if error := done.exception():
        log.error("a request was not sent to the collector", exc_info=error)


def _ids() -> Any:
    """Return what gives spans their ids: those that others know already, else random ones. For one thread."""
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Ids(RandomIdGenerator):
        trace_id = 0
        span_id: int | None = None

        def generate_trace_id(self) -> int:
            return self.trace_id

        def generate_span_id(self) -> int:
            span_id, self.span_id = self.span_id, None
            return super().generate_span_id() if span_id is None else span_id

    return Ids()


def _remote(trace: Trace) -> Any:
    """Return the context of a request that came from another service's span; an empty one where it did not."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState, set_span_in_context

    parent = trace.parent
    if parent is None:
        return Context()
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    state = TraceState.from_header([parent.state])
    span = SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), True, flags, state)
    return set_span_in_context(NonRecordingSpan(span), Context())
