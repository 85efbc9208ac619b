"""Prometheus figures of finished traces and of the cache. Each metric's help ends with the query that reads it.

Knows names, labels and buckets. Knows nothing about how `/metrics` is served. Labels hold only what the server chose
(engine, model, stage) or a closed set of words (outcomes), never a request's text, owner or session: the number of
series stays bounded whatever clients send. What vLLM measures too is called as there, `jc1_` for `vllm:`, so that
dashboards and autoscalers made for it can be used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from jc1.cache.base import State
from jc1.errors import Jc1Error
from jc1.trace import Trace

if TYPE_CHECKING:
    from jc1.access.admission import Admission
    from jc1.cache.base import Cache

STAGE_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
TOKEN_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1)
TOKENS_PER_SECOND = (1, 2.5, 5, 10, 20, 35, 50, 75, 100, 150, 250, 500, 1000, 2500, 10000)
TOKENS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 131072)
LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
RECALLED = (0, 1, 2, 4, 8, 16, 32, 64, 128)


def _p95(name: str, by: str = "") -> str:
    group = f"le, {by}" if by else "le"
    return f"Read: histogram_quantile(0.95, sum by ({group}) (rate({name}_bucket[5m])))"


class Metrics:
    """The figures of one `Telemetry`, in a registry of their own; with a cache or an admission, theirs too."""

    def __init__(self, cache: Cache | None = None, admission: Admission | None = None) -> None:
        self.registry = CollectorRegistry()
        if cache is not None and cache.state is not None:
            self.registry.register(_CacheFigures(cache))
        if admission is not None:
            self.registry.register(_AdmissionFigures(admission))
        served = ("engine", "model")
        self.in_flight = Gauge(
            "jc1_requests_in_flight", "Requests under way. Read: jc1_requests_in_flight", registry=self.registry
        )
        self.requests = Counter(
            "jc1_requests",
            "Finished requests by outcome: ok, cancelled or an error's code. "
            "Read: sum by (outcome) (rate(jc1_requests_total[5m]))",
            ("outcome", *served),
            registry=self.registry,
        )
        self.rejected = Counter(
            "jc1_requests_rejected",
            "Requests turned away before they ran, by the error's code: rate_limit_exceeded, overloaded, refused ... "
            "Read: sum by (reason) (rate(jc1_requests_rejected_total[5m]))",
            ("reason",),
            registry=self.registry,
        )
        self.limits_hit = Counter(
            "jc1_limits_hit",
            "Requests turned away by a limit: which one, and whether a key's or a model's. "
            "Read: sum by (limit, whose) (rate(jc1_limits_hit_total[5m]))",
            ("limit", "whose"),
            registry=self.registry,
        )
        self.http_errors = Counter(
            "jc1_http_errors",
            "Answers of the API with an error, by its code, whichever part gave it. "
            "Read: sum by (code) (rate(jc1_http_errors_total[5m]))",
            ("code",),
            registry=self.registry,
        )
        self.seconds = self._histogram(
            "jc1_request_seconds", "From a request's arrival to the end of its reply.", served, REQUEST_SECONDS
        )
        self.stages = Histogram(
            "jc1_stage_seconds",
            f"Seconds of a request by stage of the request path. {_p95('jc1_stage_seconds', 'stage')}",
            ("stage",),
            buckets=STAGE_SECONDS,
            registry=self.registry,
        )
        self.first_token = self._histogram(
            "jc1_time_to_first_token_seconds",
            "From the request's arrival to its first token.",
            served,
            REQUEST_SECONDS,
        )
        self.first_audio = self._histogram(
            "jc1_time_to_first_audio_seconds",
            "From the request's arrival to the first sound of a reply that is read out.",
            served,
            REQUEST_SECONDS,
        )
        self.inter_token = self._histogram(
            "jc1_inter_token_seconds", "Mean time between a reply's output tokens.", served, TOKEN_SECONDS
        )
        self.decode_rate = Histogram(
            "jc1_decode_tokens_per_second",
            "Output tokens after the first, over the time since the first. "
            "Read: histogram_quantile(0.5, sum by (le) (rate(jc1_decode_tokens_per_second_bucket[5m])))",
            served,
            buckets=TOKENS_PER_SECOND,
            registry=self.registry,
        )
        self.request_prompt_tokens = self._histogram(
            "jc1_request_prompt_tokens", "Tokens read by a request.", served, TOKENS
        )
        self.request_generation_tokens = self._histogram(
            "jc1_request_generation_tokens", "Tokens written by a request, all choices together.", served, TOKENS
        )
        self.prompt_tokens = Counter(
            "jc1_prompt_tokens",
            "Tokens read. Read: rate(jc1_prompt_tokens_total[5m])",
            served,
            registry=self.registry,
        )
        self.generation_tokens = Counter(
            "jc1_generation_tokens",
            "Tokens written. Read: rate(jc1_generation_tokens_total[5m])",
            served,
            registry=self.registry,
        )
        self.loop_lag = self._histogram(
            "jc1_event_loop_lag_seconds",
            "How late the event loop is, measured every half second; all replies wait while it is.",
            (),
            LAG_SECONDS,
        )
        self.recalled = self._histogram("jc1_recalled_memories", "Memories recalled for a request.", (), RECALLED)
        self.dropped = Counter(
            "jc1_dropped_memories",
            "Recalled memories that had no room in the prompt. Read: rate(jc1_dropped_memories_total[5m])",
            registry=self.registry,
        )
        self.not_remembered = Counter(
            "jc1_remember_failures",
            "Replies that were sent but could not be stored, by error code. "
            "Read: sum by (code) (increase(jc1_remember_failures_total[1h]))",
            ("code",),
            registry=self.registry,
        )

    def _histogram(self, name: str, what: str, labels: tuple[str, ...], buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, f"{what} {_p95(name)}", labels, buckets=buckets, registry=self.registry)

    def observe(self, trace: Trace) -> None:
        """Count a finished request. A stage that it did not reach is not counted, nor are times without a reply."""
        served = (trace.engine, trace.model)
        self.requests.labels(_word(trace.outcome), *served).inc()
        if trace.outcome == "ok":
            for stage, seconds in trace.stages.items():
                self.stages.labels(stage).observe(seconds)
            if trace.total is not None:
                self.seconds.labels(*served).observe(trace.total)
        if trace.first_token is not None:
            self.first_token.labels(*served).observe(trace.first_token)
            self.request_prompt_tokens.labels(*served).observe(trace.usage.prompt_tokens)
            self.request_generation_tokens.labels(*served).observe(trace.usage.completion_tokens)
            self.prompt_tokens.labels(*served).inc(trace.usage.prompt_tokens)
            self.generation_tokens.labels(*served).inc(trace.usage.completion_tokens)
        if trace.first_audio is not None:
            self.first_audio.labels(*served).observe(trace.first_audio)
        if rate := trace.tokens_per_second:
            self.decode_rate.labels(*served).observe(rate)
            self.inter_token.labels(*served).observe(1 / rate)
        if "recall" in trace.stages:
            self.recalled.observe(len(trace.recalled))
            self.dropped.inc(len(trace.dropped_memories))
        if trace.remembered is False:
            self.not_remembered.labels(_word(trace.remember_error)).inc()


class _AdmissionFigures(Collector):
    """Who runs and who waits, read when the figures are fetched."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    def collect(self) -> Iterator[Metric]:
        for stem in ("jc1_requests", "jc1_num_requests"):  # the second as vLLM has it
            yield GaugeMetricFamily(
                f"{stem}_running", f"Requests that run. Read: {stem}_running", self._admission.running
            )
            yield GaugeMetricFamily(
                f"{stem}_waiting",
                f"Requests that wait for their turn. Read: {stem}_waiting",
                self._admission.waiting,
            )
        yield GaugeMetricFamily(
            "jc1_prompt_tokens_waiting",
            "About how many tokens the requests have that wait for their turn. Read: jc1_prompt_tokens_waiting",
            self._admission.waiting_tokens,
        )
        yield GaugeMetricFamily(
            "jc1_saturation_ratio",
            "Share of the places to run and to wait that is taken; at 1 requests are turned away. "
            "Read: max_over_time(jc1_saturation_ratio[5m])",
            self._admission.saturation,
        )


class _CacheFigures(Collector):
    """What the cache counted, read when the figures are fetched."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def collect(self) -> Iterator[Metric]:
        lookups = CounterMetricFamily(
            "jc1_cache_lookups",
            "Lookups in the cache by what is looked for and result; error: the store was not asked or did not answer. "
            "Read: sum by (kind, result) (rate(jc1_cache_lookups_total[5m]))",
            labels=("kind", "result"),
        )
        for labels, count in self._cache.lookups.totals().items():
            lookups.add_metric(labels, count)
        yield lookups
        states = GaugeMetricFamily(
            "jc1_cache_breaker",
            "1 for the state of the cache's circuit breaker: closed is in use, open left alone, half_open tried. "
            'Read: jc1_cache_breaker{state="open"}',
            labels=("state",),
        )
        state = self._cache.state
        for name in get_args(State):
            states.add_metric((name,), float(name == state))
        yield states


def _codes(error: type[Jc1Error]) -> set[str]:
    return {error.code}.union(*map(_codes, error.__subclasses__()))


_WORDS = frozenset({"ok", "cancelled"} | _codes(Jc1Error))


def _word(outcome: str | None) -> str:
    """Return the outcome if it is one of the known words, else `internal_error`: a label never holds anything else."""
    return outcome if outcome in _WORDS else Jc1Error.code
