"""Limits: how much a caller may ask for, taken before a request runs and corrected after it.

Knows which limits hold for whom, in which order they are taken, and what a caller is told. Knows nothing about how
rates are counted (`jc1.access.rates`), or about whose turn it is (`jc1.access.admission`).

A key's own limits go before the settings'. Without keys everybody is one caller. A model's limits (`model_limits`) hold
for all callers together. Rates are shared by the processes that share a Redis, and the tokens of a day by those that
share a database; how many replies are written at the same time, each process counts for itself.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from jc1.access.principal import Limits
from jc1.access.usage import NO_KEY
from jc1.errors import RateLimited

if TYPE_CHECKING:
    from jc1.access.principal import Principal
    from jc1.access.rates import Budget, Rates, Taken
    from jc1.access.usage import Usage
    from jc1.settings import Settings

CONCURRENT_RETRY_SECONDS = 1.0
MINUTES = {"requests_per_minute": "requests", "tokens_per_minute": "tokens"}
"""The limits of a minute, and what each counts."""


class Limiter:
    """Takes from limits, for requests that are about to run. All calls come from one event loop.

    Arguments:
        on_hit: Is told the name of each limit that turned a request away, and whose it is: `key` or `model`.
    """

    def __init__(self, settings: Settings, usage: Usage, on_hit: Callable[[str, str], None]) -> None:
        self._settings = settings
        self._usage = usage
        self._on_hit = on_hit
        self._running: Counter[str] = Counter()
        self._reserved: Counter[str] = Counter()
        """Tokens that running requests may still use, by caller: usage knows those of finished ones."""

    @cached_property
    def _rates(self) -> Rates:
        # Made at the first limit: its library takes a while to load, and most never need it.
        from jc1.access.rates import Rates

        return Rates(self._settings.redis_url if self._settings.cache == "redis" else None)

    def holds_tokens(self, principal: Principal, model: str) -> bool:
        """Return whether tokens are limited for these, so that a request's have to be estimated."""
        held = (self._limits_of(principal), self._limits_of_model(model))
        return any(limits.tokens_per_minute or limits.tokens_per_day for limits in held)

    async def take(self, principal: Principal, model: str, tokens: int) -> Grant:
        """Take one request of `tokens` tokens, an estimate. Who gets a `Grant` must `settle` it.

        Raises:
            RateLimited: A limit does not leave as much. Nothing is taken then.
        """
        caller = principal.key or NO_KEY
        limits = self._limits_of(principal)
        grant = Grant(self, caller, limits, tokens)
        self._running[caller] += 1
        self._reserved[caller] += tokens
        try:
            self._check_concurrent(caller, limits)
            await self._check_day(grant, limits)
            for whose, place, held in (
                ("key", f"key/{caller}", limits),
                ("model", f"model/{model}", self._limits_of_model(model)),
            ):
                for name, unit in MINUTES.items():
                    if limit := getattr(held, name):
                        await self._take_minute(grant, _Minute(name, unit, whose, f"{place}/{unit}", limit))
        except BaseException:
            await grant.settle(0, requests=0)
            raise
        return grant

    async def take_request(self, principal: Principal) -> None:
        """Take a request that asks no model. Raises `RateLimited`."""
        limits = self._limits_of(principal)
        if limit := limits.requests_per_minute:
            caller = principal.key or NO_KEY
            grant = Grant(self, caller, limits, 0)
            await self._take_minute(
                grant, _Minute("requests_per_minute", "requests", "key", f"key/{caller}/requests", limit)
            )

    async def close(self) -> None:
        """Close the connections."""
        if "_rates" in self.__dict__:
            await self._rates.close()

    def _limits_of(self, principal: Principal) -> Limits:
        settings = self._settings
        usual = Limits(
            settings.requests_per_minute, settings.tokens_per_minute, settings.tokens_per_day, settings.concurrent
        )
        return Limits(**{**asdict(usual), **principal.limits.to_dict()})

    def _limits_of_model(self, model: str) -> Limits:
        return Limits(**self._settings.model_limits.get(model, {}))

    def _check_concurrent(self, caller: str, limits: Limits) -> None:
        if limits.concurrent and self._running[caller] > limits.concurrent:
            self._on_hit("concurrent", "key")
            raise _refused(
                f"{limits.concurrent} replies are being written already, and no more may be at the same time",
                CONCURRENT_RETRY_SECONDS,
            )

    async def _check_day(self, grant: Grant, limits: Limits) -> None:
        from jc1.access.rates import Budget

        if not limits.tokens_per_day:
            return
        # This request's own tokens are among the reserved ones.
        used = await self._usage.tokens_today(grant.caller) + self._reserved[grant.caller]
        left = limits.tokens_per_day - used
        budget = Budget(limits.tokens_per_day, max(0, left + (grant.tokens if left < 0 else 0)), _until_midnight())
        grant.budgets["tokens"].append(budget)
        if left < 0:
            self._refuse(grant, "tokens_per_day", "key", budget, grant.tokens)

    async def _take_minute(self, grant: Grant, minute: _Minute) -> None:
        amount = 1 if minute.unit == "requests" else grant.tokens
        taken = await self._rates.take(minute.key, minute.limit, amount)
        grant.budgets[minute.unit].append(taken.budget)
        if not taken.granted:
            self._refuse(grant, minute.name, minute.whose, taken.budget, amount)
        grant.taken[minute] = taken

    async def _take_again(self, grant: Grant, tokens: int) -> None:
        """Take `tokens` in place of the grant's. Raises `RateLimited` where a limit does not leave as much."""
        self._reserved[grant.caller] += tokens - grant.tokens
        grant.tokens = tokens
        await self._check_day(grant, grant.limits)
        for minute, taken in list(grant.taken.items()):
            if minute.unit == "tokens":
                del grant.taken[minute]
                await taken.correct(0)
                await self._take_minute(grant, minute)

    def _refuse(self, grant: Grant, name: str, whose: str, budget: Budget, amount: int) -> None:
        """Raise `RateLimited` with what the caller has to know: which limit, what is left, and when to come back."""
        self._on_hit(name, whose)
        what = f"{budget.limit:,} {name.replace('_', ' ')}" + (" for all callers of this model" * (whose == "model"))
        if amount > budget.limit:
            error = RateLimited(
                f"The request may take {amount:,} tokens and the limit is {what}: send less, or ask for fewer "
                "max_tokens.",
                headers={"x-should-retry": "false"},
            )
        else:
            rest = f", {budget.remaining:,} are left and the request may take {amount:,}" if amount > 1 else ""
            error = _refused(f"The limit of {what} is reached{rest}", budget.reset)
        error.headers = {**grant.headers(), **error.headers}
        raise error

    def _release(self, grant: Grant) -> None:
        """Give back what a request held while it ran."""
        for counts, amount in ((self._running, 1), (self._reserved, grant.tokens)):
            counts[grant.caller] -= amount


@dataclass(frozen=True, slots=True)
class _Minute:
    """A limit of a minute: its name, what it counts, whose it is, under which key it is counted, and how much it is."""

    name: str
    unit: str
    whose: str
    key: str
    limit: int


@dataclass(slots=True)
class Grant:
    """What a request took. `budgets` are what its limits leave afterwards, by what they count."""

    _limiter: Limiter
    caller: str
    limits: Limits
    tokens: int
    taken: dict[_Minute, Taken] = field(default_factory=dict)
    budgets: dict[str, list[Budget]] = field(default_factory=lambda: {"requests": [], "tokens": []})

    def headers(self) -> dict[str, str]:
        """Return OpenAI's `x-ratelimit-*`: of several limits of the same thing, that which leaves least."""
        headers: dict[str, str] = {}
        for unit, budgets in self.budgets.items():
            if budgets:
                tightest = min(budgets, key=lambda budget: budget.remaining)
                headers |= {
                    f"x-ratelimit-limit-{unit}": str(tightest.limit),
                    f"x-ratelimit-remaining-{unit}": str(tightest.remaining),
                    f"x-ratelimit-reset-{unit}": duration(tightest.reset),
                }
        return headers

    async def raise_to(self, tokens: int) -> None:
        """Take as many tokens as the request turns out to need, where the estimate was less.

        Raises:
            RateLimited: A limit does not leave as much. The request has to end then.
        """
        if tokens > self.tokens:
            await self._limiter._take_again(self, tokens)

    async def settle(self, tokens: int, *, requests: int = 1) -> None:
        """Give back what was taken and not used; take what was used besides. Goes on where the caller is cancelled."""
        self._limiter._release(self)
        used: Mapping[str, int] = {"tokens": tokens, "requests": requests}
        corrections = [taken.correct(used[minute.unit]) for minute, taken in self.taken.items()]
        if corrections:
            await asyncio.shield(asyncio.gather(*corrections))


def duration(seconds: float) -> str:
    """Return a time as OpenAI writes it: `20ms`, `1.5s`, `6m0s`, `23h59m59s`."""
    if seconds <= 0:
        return "0s"
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    if seconds < 60:
        return f"{math.ceil(seconds * 1000) / 1000:g}s"
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"


def _refused(reason: str, seconds: float) -> RateLimited:
    wait = max(1, math.ceil(seconds))
    return RateLimited(f"{reason}: try again in {duration(wait)}.", headers={"retry-after": str(wait)})


def _until_midnight() -> float:
    """Return the seconds until the day ends (UTC)."""
    now = datetime.now(UTC)
    tomorrow = datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1)
    return (tomorrow - now).total_seconds()
