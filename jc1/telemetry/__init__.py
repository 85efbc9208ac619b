"""Telemetry: finished traces go to a ring of recent ones, to those who listen, to Prometheus and, where one is
named, to a collector.

Knows where a request comes from and where a finished one is recorded. Knows nothing about how requests run or how
figures are fetched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from jc1.errors import Jc1Error
from jc1.telemetry.context import TraceContext, current
from jc1.telemetry.live import Listeners
from jc1.telemetry.recent import RecentTraces
from jc1.trace import Content, Trace

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from jc1.access.admission import Admission
    from jc1.cache.base import Cache
    from jc1.messages import Message
    from jc1.settings import Settings
    from jc1.telemetry.metrics import Metrics
    from jc1.telemetry.otel import Exporter

__all__ = ["RecentTraces", "Telemetry", "open_exporter"]


def open_exporter(settings: Settings) -> Exporter | None:
    """Return what sends traces to the settings' collector; None where there is none, and then nothing is imported."""
    if not settings.otlp_endpoint:
        return None
    from jc1.telemetry.otel import Exporter

    return Exporter(settings.otlp_endpoint, content=settings.otel_content)


class Telemetry:
    """What is known about requests, running and finished.

    `keep` is how many finished traces stay in `recent`; `cache` is one whose figures are shown too; `exporter` sends
    finished traces to a collector. `live` are those who listen.
    """

    def __init__(self, *, keep: int = 500, cache: Cache | None = None, exporter: Exporter | None = None) -> None:
        self.recent = RecentTraces(keep)
        self.live = Listeners()
        self._exporter = exporter
        self._cache = cache
        self.admission: Admission | None = None
        """Whose figures are shown too, set before `metrics` is first used."""

    @cached_property
    def metrics(self) -> Metrics:
        """Return the Prometheus figures, made at first use: the library is not needed to import JC1."""
        from jc1.telemetry.metrics import Metrics

        return Metrics(self._cache, self.admission)

    @property
    def registry(self) -> CollectorRegistry:
        """Return the figures as Prometheus reads them: of this `Telemetry` alone, not the default registry."""
        return self.metrics.registry

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Count the body as a request under way."""
        gauge = self.metrics.in_flight
        gauge.inc()
        try:
            yield
        finally:
            gauge.dec()

    @contextmanager
    def recorded(self, trace: Trace) -> Iterator[None]:
        """Count the body as a request under way, and record its trace with what became of it."""
        with self.in_flight():
            try:
                yield
            except (GeneratorExit, asyncio.CancelledError):
                if trace.outcome == "running":
                    trace.outcome = "cancelled"
                raise
            except Jc1Error as error:
                trace.outcome = error.code
                raise
            except Exception:
                trace.outcome = Jc1Error.code
                raise
            finally:
                self.finish(trace)

    def begin(self, **fields: Any) -> Trace:
        """Return the trace of a request that begins now, with the fields of `Trace`."""
        trace = Trace(**fields)
        if (request := current()) is not None:
            trace.parent = request.parent
            request.trace = trace.id
        return trace

    def headers_behind(self, trace: Trace) -> Mapping[str, str]:
        """Return the headers by which a server that is asked for the reply finds the trace; none where nobody traces.

        Where nothing is exported there is no span of JC1's to come from, and what came in goes out.
        """
        parent = trace.parent
        if self._exporter is None:
            return parent.headers if parent else {}
        sampled, state = (parent.sampled, parent.state) if parent else (True, "")
        return TraceContext(trace.trace_id, trace.span_id, sampled, state).headers

    def note_prompt(self, trace: Trace, prompt: Sequence[Message]) -> None:
        """Keep what the model reads with the trace, where texts are exported."""
        if self._exporter is not None and self._exporter.content:
            trace.content = Content(tuple(prompt))

    def note_replies(self, trace: Trace, replies: Sequence[str]) -> None:
        """Keep what it replied, where texts are exported."""
        if trace.content is not None:
            trace.content.replies = tuple(replies)

    def finish(self, trace: Trace) -> None:
        """Record a request that ends now; leave one that was finished before as it is."""
        if trace.total is None:
            trace.total = trace.elapsed()
            self.record(trace)

    def count_error(self, code: str) -> None:
        """Count an answer that is an error."""
        self.metrics.http_errors.labels(code).inc()

    def record(self, trace: Trace) -> None:
        """Keep a finished request, also a failed or cancelled one."""
        content, trace.content = trace.content, None
        self.recent.add(trace)
        self.live.tell(trace)
        self.metrics.observe(trace)
        if self._exporter is not None:
            self._exporter.export(trace, content)

    def close(self) -> None:
        """Send what is still to be sent to the collector. Blocks for some seconds where it does not answer."""
        if self._exporter is not None:
            self._exporter.close()
