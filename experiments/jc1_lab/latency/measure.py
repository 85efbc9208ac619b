"""Latency: how long requests take under a stated load, measured so that members can be compared.

Knows blocks, warm-up, percentiles and goodput. Knows nothing about when requests are sent (`load`) or who answers
(`targets`).

**Blocks.** Machines drift: they heat up, and others use them. So the members take turns in short blocks, round by
round, and a slow minute hits all alike. Within a round all get the same prompts, seeds and arrivals. Before each block
the prefix cache is emptied and some requests warm up, under the same load, and are not counted.

**Percentiles** are by nearest rank: the least time seen that so great a share did not exceed. Nothing is interpolated,
so below 100 requests `p99` is the slowest one, and says no more than that.
"""

from __future__ import annotations

import logging
import math
import random
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from jc1.errors import EngineFailed, InvalidRequest
from jc1.presets import Preset
from jc1_lab.latency import load as loading
from jc1_lab.latency.load import Sample
from jc1_lab.latency.targets import Target
from jc1_lab.records.items import Item
from jc1_lab.records.results import Latency, Load, Percentiles

log = logging.getLogger(__name__)

SEEDS = 2**31
"""Seeds are below this: every engine takes them."""


@dataclass(frozen=True, slots=True)
class Objective:
    """The limits that a request must keep to count as served well, in seconds: `None` sets none."""

    ttft: float | None = None
    tpot: float | None = None
    total: float | None = None

    def met_by(self, sample: Sample) -> bool:
        """Tell whether the request succeeded and kept every limit. With one token there is no `tpot` to miss."""
        pairs = ((sample.ttft, self.ttft), (sample.tpot, self.tpot), (sample.total, self.total))
        return sample.ok and all(limit is None or seen is None or seen <= limit for seen, limit in pairs)

    def __str__(self) -> str:
        names = {"first token": self.ttft, "each next token": self.tpot, "whole reply": self.total}
        limits = [f"{name} within {limit * 1000:g} ms" for name, limit in names.items() if limit is not None]
        return ", ".join(limits) or "any reply"


@dataclass(frozen=True, slots=True)
class Block:
    """A block that was measured, the `number`th of `count` (from 1). `seconds` is its span: from its beginning to the
    end of its last request."""

    number: int
    count: int
    member: int
    load: Load
    samples: Sequence[Sample]
    seconds: float


@dataclass(frozen=True, slots=True)
class _Call:
    item: Item
    seed: int


async def measure(
    members: Mapping[int, tuple[Target, Preset]],
    prompts: Sequence[Item],
    loads: Sequence[Load],
    *,
    requests: int,
    blocks: int,
    warm_up: int,
    objective: Objective | None = None,
    seed: int = 0,
    on_block: Callable[[Block], None] | None = None,
) -> dict[int, list[Latency]]:
    """Return the latency of each member under each load, where members may be on targets of their own.

    Each member is measured in `blocks` blocks of `requests` requests under each load, after `warm_up` requests in each
    that do not count: `len(members) * len(loads) * blocks * (warm_up + requests)` requests in all. Give at least
    `warm_up + requests` prompts: one that comes twice in a block finds itself in the prefix cache.

    `on_block` is called with each block when it is done. Cancelling this ends the requests under way first.

    A member none of whose requests succeeded under a load has no figures for it, which is logged.

    Raises:
        InvalidRequest: There is nothing to measure.
        EngineFailed: Nothing at all succeeded.
    """
    if not members or not prompts or not loads or requests < 1 or blocks < 1 or warm_up < 0:
        raise InvalidRequest("Nothing to measure: give members, prompts, loads, and at least 1 request and 1 block.")
    for load in loads:
        loading.check(load)
    # 1) The blocks: round by round, under each load, the members in turns
    by_member: dict[tuple[int, int], list[Block]] = {}
    count = len(members) * len(loads) * blocks
    for turn in range(blocks):
        for at, load in enumerate(loads):
            calls = _drawn(prompts, warm_up + requests, f"{seed}-{turn}-{at}")
            for member in order(list(members), turn, seed):
                target, preset = members[member]
                await target.forget_prefixes()
                drive = partial(loading.drive, partial(_send, target, preset), load=load)
                if warm_up:
                    await drive(calls[:warm_up], seed=f"warm-up-{seed}-{turn}-{at}")
                samples = await drive(calls[warm_up:], seed=f"{seed}-{turn}-{at}")
                done = sum(map(len, by_member.values())) + 1
                block = Block(done, count, member, load, samples, max(sample.ended for sample in samples))
                by_member.setdefault((member, at), []).append(block)
                if on_block:
                    on_block(block)
    # 2) The figures of each member under each load
    results: dict[int, list[Latency]] = {}
    for member in members:
        summed = (summary(by_member[member, at], objective) for at in range(len(loads)))
        results[member] = [latency for latency in summed if latency is not None]
    if not any(results.values()):
        codes = {sample.outcome for measured in by_member.values() for block in measured for sample in block.samples}
        raise EngineFailed(f"No request succeeded ({', '.join(sorted(codes))}): try one of them alone to see why.")
    return results


async def _send(target: Target, preset: Preset, call: _Call) -> loading.Timing:
    return await target.send(call.item, preset, call.seed)


def order(members: Sequence[int], turn: int, seed: int) -> list[int]:
    """Return the order in which members are measured in the `turn`th round, from 0.

    In as many rounds as there are members each stands at each place once, in a circle shuffled anew every time.
    """
    cycle, place = divmod(turn, len(members))
    circle = list(members)
    random.Random(f"order-{seed}-{cycle}").shuffle(circle)
    return [*circle[place:], *circle[:place]]


def _drawn(prompts: Sequence[Item], count: int, seed: str) -> list[_Call]:
    """Draw prompts in random order, none again before all others came, each with a seed of its own."""
    drawn = random.Random(f"prompts-{seed}")

    def endless() -> Iterator[Item]:
        while True:
            yield from drawn.sample(prompts, len(prompts))

    source = endless()
    return [_Call(next(source), drawn.randrange(SEEDS)) for _ in range(count)]


def percentiles(values: Sequence[float]) -> Percentiles:
    """Return the percentiles by nearest rank, of at least one value."""
    ranked = sorted(values)
    return Percentiles(**{f"p{share}": ranked[math.ceil(len(ranked) * share / 100) - 1] for share in (50, 90, 99)})


def summary(blocks: Sequence[Block], objective: Objective | None = None) -> Latency | None:
    """Return the figures of a member's blocks under one load; `None` where no request succeeded.

    Times are of the requests that succeeded; rates are these requests, and their tokens, over the spans of all blocks.
    """
    samples = [sample for block in blocks for sample in block.samples]
    good = [sample for sample in samples if sample.ok]
    if not good:
        log.warning("member %s has no figures at %s: every request failed", blocks[0].member, blocks[0].load)
        return None
    seconds = sum(block.seconds for block in blocks)
    tpots = [sample.tpot for sample in good if sample.tpot is not None]
    stages = dict.fromkeys(name for sample in good for name in sample.stages)
    return Latency(
        load=blocks[0].load,
        requests=len(samples),
        failed=len(samples) - len(good),
        blocks=len(blocks),
        seconds=seconds,
        ttft=percentiles([sample.ttft for sample in good]),
        tpot=percentiles(tpots) if tpots else None,
        total=percentiles([sample.total for sample in good]),
        tokens_per_second=sum(sample.tokens for sample in good) / seconds,
        requests_per_second=len(good) / seconds,
        goodput=sum(map(objective.met_by, good)) / seconds if objective else None,
        stages={
            name: statistics.median(sample.stages[name] for sample in good if name in sample.stages) for name in stages
        },
    )
