"""`jc1 serve` under a long load of mixed clients, while its Redis dies twice: nothing breaks, sticks or piles up.

How long it goes on is `SOAK_SECONDS`. Growth of memory shows in runs of at least ten minutes, and is asserted there.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any

import httpx
import pytest

from jc1 import Settings
from jc1.access.keys import Keys
from jc1.access.principal import ADMIN, Limits
from jc1.database import open_database
from jc1.database.keys import KeyRepository
from tests.api.conftest import bearer
from tests.support.load import ACTIONS, Client, Ledger
from tests.support.redis_server import RedisServer, running

SECONDS = float(os.environ.get("SOAK_SECONDS", "60"))
CLIENTS = 32
OWNERS = tuple(f"owner{letter}" for letter in "abcdefghijklmnop")
"""Two clients share the key of each."""
LIMITS = (
    Limits(requests_per_minute=200, tokens_per_day=100_000_000),
    Limits(tokens_per_minute=100_000),
    Limits(concurrent=1),
    Limits(),
)
"""The owners' in turn."""
UNLIMITED = OWNERS[3]
ENVIRONMENT = {
    "JC1_ENGINE": "echo",
    "JC1_CACHE": "redis",
    "JC1_CACHE_REPLIES": "60",
    "JC1_MAX_RUNNING": "12",
    "JC1_MAX_WAITING": "12",
}
AWAY = (0.25, 0.15)
"""After which share of the time Redis is killed, and for which it is away; then the same again."""
SAMPLES = 300
"""How often memory is looked at."""
GROWTH_SECONDS, GROWTH = 600, 1.05
"""From which length on the last third may not take more memory than so many times the first, after a warm-up."""
POOLED = 30
"""Open files that may be more than before: eight connections to the database have three each, and Redis has a pool."""
PATIENCE = 60
"""Seconds within which the server is idle again, and ends, on a machine that is busy."""
COUNTING = Path(__file__).parents[1] / "support" / "counting_tasks.py"


class Watched:
    """A running `jc1 serve`, seen from outside."""

    def __init__(self, process: subprocess.Popen[str], address: str, counts: Path, admin: str) -> None:
        self.process = process
        self.address = address
        self.http = httpx.Client(base_url=address, headers=bearer(admin), timeout=PATIENCE)
        self._counts = counts
        self._proc = Path(f"/proc/{process.pid}")

    @property
    def mebibytes(self) -> float:
        """Return the resident memory."""
        return int((self._proc / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def files_when_idle(self, tasks: Mapping[str, int]) -> int:
        """Return the number of open files, once no request is under way and the event loop has these tasks alone."""
        until = time.monotonic() + PATIENCE
        while (held := self.tasks()) != tasks or self._busy():
            assert time.monotonic() < until, (held, tasks)
            time.sleep(0.1)
        return len(os.listdir(self._proc / "fd"))

    def _busy(self) -> bool:
        found = re.findall(r"^jc1_requests_(?:in_flight|running|waiting) (\S+)$", self.http.get("/metrics").text, re.M)
        assert len(found) == 3
        return any(float(value) for value in found)

    def tasks(self) -> Mapping[str, int]:
        """Return how many tasks the event loop has, by the names of what they run."""
        self._counts.unlink(missing_ok=True)
        self.process.send_signal(signal.SIGUSR1)
        until = time.monotonic() + PATIENCE
        while not self._counts.exists():
            assert time.monotonic() < until, "the event loop does not turn"
            time.sleep(0.01)
        read: Mapping[str, int] = json.loads(self._counts.read_text())
        return read

    def stop(self) -> int:
        """Tell it to end, and return its exit status."""
        self.http.close()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@contextmanager
def serving(home: Path, log: Path, redis: RedisServer, admin: str) -> Iterator[Watched]:
    """Serve with Redis as the store of cache and limits; what it logs is in a file."""
    counts = home / "tasks.json"
    command = [sys.executable, "-P", str(COUNTING), str(counts), "serve", "--port", "0"]
    environment = {**os.environ, **ENVIRONMENT, "JC1_REDIS_URL": redis.address}
    with (
        log.open("w") as errors,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            address = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            assert address, log.read_text()
            yield Watched(process, address[0], counts, admin)
        finally:
            process.kill()


def made_keys(home: Path) -> tuple[str, dict[str, str]]:
    """Return an admin's token, and one for each owner, with limits of every kind among them."""
    Settings(home=home).prepare_home()
    database = open_database(f"sqlite:///{home / 'jc1.db'}")
    keys = Keys(KeyRepository(database))
    tokens = {owner: keys.create(owner, limits=LIMITS[n % len(LIMITS)]).token for n, owner in enumerate(OWNERS)}
    admin = keys.create("admin", scopes={ADMIN}).token
    keys.close()
    database.dispose()
    return admin, tokens


def clients(server: Watched, tokens: Mapping[str, str], ledger: Ledger) -> list[Client]:
    """Return the clients, each a sequence of its own."""
    owners = list(tokens.items()) * (CLIENTS // len(OWNERS))
    return [Client(number, server.address, *owner, ledger) for number, owner in enumerate(owners)]


async def kill_twice(redis: RedisServer, seconds: float) -> None:
    """Kill Redis, let it be away for a while, and start it anew, twice."""
    for _ in range(2):
        await asyncio.sleep(AWAY[0] * seconds)
        redis.kill()
        await asyncio.sleep(AWAY[1] * seconds)
        await asyncio.to_thread(redis.start)


async def sampled(server: Watched, until: float, samples: list[float]) -> None:
    """Add the server's memory to the samples, `SAMPLES` times until then."""
    while (left := until - time.monotonic()) > 0:
        samples.append(server.mebibytes)
        await asyncio.sleep(min(left, SECONDS / SAMPLES))


def growth(samples: Sequence[float]) -> float:
    """Return how many times the memory of the first third the last took, after a fifth to warm up."""
    steady = samples[len(samples) // 5 :]
    third = len(steady) // 3
    return fmean(steady[-third:]) / fmean(steady[:third])


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 300)
async def test_under_a_long_load_nothing_breaks_sticks_or_piles_up(home: Path, tmp_path: Path) -> None:
    admin, tokens = made_keys(home)
    log, before, ledger = tmp_path / "log", Ledger(), Ledger()
    with running() as redis, serving(home, log, redis, admin) as server:
        # 1) Everything once, by all at the same time: what stays open afterwards is meant to.
        tasks = server.tasks()
        await asyncio.gather(*(client.do_everything() for client in clients(server, tokens, before)))
        files = server.files_when_idle(tasks)
        # 2) The load.
        samples: list[float] = []
        until = time.monotonic() + SECONDS
        await asyncio.gather(
            *(client.go_on(until) for client in clients(server, tokens, ledger)),
            kill_twice(redis, SECONDS),
            sampled(server, until, samples),
        )
        # 3) Afterwards it holds what it held before, and answers.
        files_after = server.files_when_idle(tasks)
        alone = Client(0, server.address, UNLIMITED, tokens[UNLIMITED], after := Ledger())
        await alone.do_everything()
        ready = server.http.get("/health/ready").json()
        status = server.stop()
    logged = log.read_text()
    print(json.dumps(figures(ledger, samples) | {"files": [files, files_after], "log_bytes": len(logged)}, indent=2))
    assert before.faults + ledger.faults + after.faults == []
    assert set(after.outcomes) == {f"{action.__name__}: ok" for action in ACTIONS}
    assert (ready["status"], status) == ("ok", 0)
    assert files_after <= files + POOLED
    assert "Traceback" not in logged
    if SECONDS >= GROWTH_SECONDS:
        assert growth(samples) < GROWTH


def figures(ledger: Ledger, samples: Sequence[float]) -> dict[str, Any]:
    """Return what is to be told of a run."""
    turned_away = sum(count for outcome, count in ledger.outcomes.items() if not outcome.endswith(": ok"))
    return {
        "seconds": SECONDS,
        "clients": CLIENTS,
        "actions": ledger.outcomes.total(),
        "turned_away": turned_away,
        "outcomes": dict(sorted(ledger.outcomes.items())),
        "longest_s": {action: round(seconds, 2) for action, seconds in sorted(ledger.longest.items())},
        "mebibytes": [round(sample) for sample in samples[:: max(1, len(samples) // 20)]],
        "last_third_over_first": growth(samples),
        "faults": ledger.faults,
    }
