"""Prometheus figures: what a finished trace adds, and that clients cannot add series."""

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from prometheus_client import generate_latest

from jc1.cache.base import State
from jc1.cache.breaker import Breaker
from jc1.cache.lmdb import LmdbCache
from jc1.cache.namespaces import KINDS
from jc1.cache.null import NullCache
from jc1.cache.redis import RedisCache
from jc1.errors import Jc1Error
from jc1.telemetry import Telemetry
from jc1.trace import STAGES, Trace, Usage


def finished(**values: object) -> Trace:
    """A reply of 21 tokens at 100 tokens a second, with three recalled memories of which one had no room."""
    trace = Trace(owner="ann", engine="echo", model="echo", session="s")
    trace.outcome, trace.first_token, trace.total = "ok", 0.05, 0.3
    trace.usage = Usage(prompt_tokens=40, completion_tokens=21)
    trace.recalled = [{"id": "a"}, {"id": "b"}, {"id": "c"}]
    trace.dropped_memories = ("c",)
    for stage, seconds in {"embed": 0.01, "recall": 0.002, "decode": 0.2, "remember": 0.03}.items():
        trace.add(stage, 0.0, seconds)
    for name, value in values.items():
        setattr(trace, name, value)
    return trace


def value(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(name, labels)


def test_a_finished_request_is_counted_everywhere_it_belongs() -> None:
    telemetry = Telemetry()
    telemetry.record(finished())
    served = {"engine": "echo", "model": "echo"}
    assert value(telemetry, "jc1_requests_total", outcome="ok", **served) == 1
    assert value(telemetry, "jc1_request_seconds_sum", **served) == 0.3
    assert value(telemetry, "jc1_stage_seconds_sum", stage="decode") == 0.2
    assert value(telemetry, "jc1_stage_seconds_count", stage="hear") is None
    assert value(telemetry, "jc1_time_to_first_token_seconds_sum", **served) == 0.05
    assert value(telemetry, "jc1_decode_tokens_per_second_sum", **served) == pytest.approx(100)
    assert value(telemetry, "jc1_inter_token_seconds_sum", **served) == pytest.approx(0.01)
    assert value(telemetry, "jc1_request_prompt_tokens_sum", **served) == 40
    assert value(telemetry, "jc1_request_generation_tokens_sum", **served) == 21
    assert value(telemetry, "jc1_prompt_tokens_total", **served) == 40
    assert value(telemetry, "jc1_generation_tokens_total", **served) == 21
    assert value(telemetry, "jc1_recalled_memories_sum") == 3
    assert value(telemetry, "jc1_dropped_memories_total") == 1
    assert telemetry.recent.list()[0].total == 0.3


def test_the_first_sound_of_a_reply_is_timed_where_it_is_read_out() -> None:
    telemetry = Telemetry()
    telemetry.record(finished())
    telemetry.record(finished(first_audio=0.2))
    served = {"engine": "echo", "model": "echo"}
    assert value(telemetry, "jc1_time_to_first_audio_seconds_count", **served) == 1
    assert value(telemetry, "jc1_time_to_first_audio_seconds_sum", **served) == 0.2


def test_a_refused_request_is_counted_under_its_code_and_adds_no_times_it_did_not_reach() -> None:
    telemetry = Telemetry()
    refused = Trace(owner="ann", engine="echo", model="echo", outcome="empty_message", total=0.001)
    refused.add("tokenize", 0.0, 0.001)
    telemetry.record(refused)
    assert value(telemetry, "jc1_requests_total", outcome="empty_message", engine="echo", model="echo") == 1
    for times in ("jc1_request_seconds_count", "jc1_time_to_first_token_seconds_count"):
        assert value(telemetry, times, engine="echo", model="echo") is None
    assert value(telemetry, "jc1_stage_seconds_count", stage="tokenize") is None
    assert value(telemetry, "jc1_recalled_memories_count") == 0


def test_a_reply_that_could_not_be_stored_is_counted_by_code() -> None:
    telemetry = Telemetry()
    telemetry.record(finished(remembered=False, remember_error="storage_full"))
    assert value(telemetry, "jc1_remember_failures_total", code="storage_full") == 1


def test_requests_under_way_are_counted_until_they_end_also_by_an_error() -> None:
    telemetry = Telemetry()
    with telemetry.in_flight(), telemetry.in_flight():
        assert value(telemetry, "jc1_requests_in_flight") == 2
    with pytest.raises(Jc1Error), telemetry.in_flight():
        raise Jc1Error("broken")
    assert value(telemetry, "jc1_requests_in_flight") == 0


def test_what_clients_send_adds_no_series() -> None:
    telemetry = Telemetry()
    telemetry.record(finished())
    before = len(generate_latest(telemetry.registry).splitlines())
    for i in range(50):
        telemetry.record(finished(owner=f"o{i}", session=f"s{i}", preset=f"p{i}"))
    telemetry.record(finished(outcome="made up"))
    telemetry.record(finished(outcome="made up too"))
    after = generate_latest(telemetry.registry)
    assert len(after.splitlines()) - before == 2, "one outcome, and when its counter was made"
    assert b'outcome="internal_error"' in after


def test_the_cache_is_read_when_the_figures_are_fetched(tmp_path: Path) -> None:
    cache = LmdbCache(tmp_path / "cache")
    telemetry = Telemetry(cache=cache)
    cache.put_many("embedding", {b"key": b"value"})
    cache.get_many("embedding", [b"key", b"?", b"??"])
    assert value(telemetry, "jc1_cache_lookups_total", kind="embedding", result="hit") == 1
    assert value(telemetry, "jc1_cache_lookups_total", kind="embedding", result="miss") == 2
    cache.close()
    cache.get("embedding", b"key")
    assert value(telemetry, "jc1_cache_lookups_total", kind="embedding", result="error") == 1
    assert value(telemetry, "jc1_cache_breaker", state="closed") == 0
    assert value(telemetry, "jc1_cache_breaker", state="open") == 1


def test_the_breaker_is_in_one_of_its_states_and_what_is_looked_up_adds_no_series(tmp_path: Path) -> None:
    now = 0.0
    breaker = Breaker(failures=2, seconds=5, clock=lambda: now)
    cache = RedisCache(f"unix://{tmp_path}/nobody", breaker=breaker)
    telemetry = Telemetry(cache=cache)
    before = len(generate_latest(telemetry.registry).splitlines())

    def state() -> list[str]:
        return [name for name in get_args(State) if value(telemetry, "jc1_cache_breaker", state=name) == 1]

    assert state() == ["closed"]
    for i in range(10):
        cache.get(f"{KINDS[i % 3]}/{i}", b"key")
        cache.get(f"made up {i}", b"key")
    assert state() == ["open"]
    assert value(telemetry, "jc1_cache_lookups_total", kind="other", result="error") == 10
    assert len(generate_latest(telemetry.registry).splitlines()) == before
    now += 5
    assert breaker.allows()
    assert state() == ["half_open"]
    cache.close()


def test_without_a_cache_there_are_no_figures_of_one() -> None:
    assert value(Telemetry(cache=NullCache()), "jc1_cache_breaker", state="open") is None
    assert value(Telemetry(), "jc1_cache_breaker", state="open") is None


def test_a_reply_from_the_cache_has_no_rate_of_decoding() -> None:
    telemetry = Telemetry()
    telemetry.record(finished(cached=True))
    served = {"engine": "echo", "model": "echo"}
    assert value(telemetry, "jc1_requests_total", outcome="ok", **served) == 1
    assert value(telemetry, "jc1_decode_tokens_per_second_count", **served) is None


def test_every_help_names_a_query_that_reads_its_own_metric(tmp_path: Path) -> None:
    cache = LmdbCache(tmp_path / "cache")
    telemetry = Telemetry(cache=cache)
    cache.close()
    metrics = list(telemetry.registry.collect())
    assert len(metrics) >= 14
    for metric in metrics:
        query = metric.documentation.partition("Read: ")[2]
        assert re.search(rf"\b{metric.name}(_bucket|_total)?\b", query), metric.name


def test_two_telemetries_share_nothing_and_stages_are_those_of_the_request_path() -> None:
    one, two = Telemetry(), Telemetry()
    trace = finished()
    for stage in STAGES:
        trace.add(stage, 0.0, 0.001)
    one.record(trace)
    assert {value(one, "jc1_stage_seconds_count", stage=stage) for stage in STAGES} == {1}
    assert value(two, "jc1_stage_seconds_count", stage="decode") is None


def test_importing_telemetry_does_not_import_prometheus() -> None:
    code = "import sys, jc1.telemetry; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
