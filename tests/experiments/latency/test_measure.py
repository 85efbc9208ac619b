"""Latency: members take turns under the same load, and the figures say what was seen."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from jc1 import Preset, Settings, Workbench
from jc1.access.keys import Keys
from jc1.database.keys import KeyRepository
from jc1.database.presets import PresetRepository
from jc1.decoding import Decoding
from jc1.embedding.base import Embedder
from jc1.engines.base import EnginePrompt, Step
from jc1.engines.echo import EchoEngine, echoed
from jc1.errors import EngineFailed, InvalidRequest, InvalidSettings
from jc1.memory.base import NewRecord
from jc1.memory.store import DatabaseMemory
from jc1.messages import Message
from jc1.presets import Presets
from jc1.sessions import Sessions
from jc1.telemetry import Telemetry
from jc1_lab.latency.load import Sample, Timing
from jc1_lab.latency.measure import Block, Objective, measure, order, percentiles, summary
from jc1_lab.latency.targets import PipelineTarget
from jc1_lab.records.items import Item
from jc1_lab.records.results import Latency, Load
from tests.support.database import new_database

ONE = [Load(concurrency=1)]
BOTH = [Load(concurrency=2), Load(rate=400.0)]
MANY = tuple(Item(str(i), (Message.user(f"prompt {i}"),)) for i in range(40))


class Recorder(EchoEngine):
    """The echo engine, and what was asked of it in order: texts with their decoding, and `forget`. Texts that begin
    with "break" fail; one that begins with "hold" is not answered."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, Decoding] | str] = []
        self.holds = 0
        self.held = asyncio.Event()

    async def generate(self, prompt: EnginePrompt, decoding: Decoding) -> AsyncGenerator[Step, None]:
        text = echoed(prompt.messages).decode()
        self.asked.append((text, decoding))
        if text.startswith("break"):
            raise EngineFailed("It broke: send the request again.")
        async with aclosing(super().generate(prompt, decoding)) as steps:
            async for step in steps:
                yield step
                if text.startswith("hold"):
                    self.holds += 1
                    self.held.set()
                    await asyncio.Event().wait()

    async def forget_prefixes(self) -> bool:
        assert self.active == 0
        self.asked.append("forget")
        return True


@pytest.fixture
async def workbench(home: Path, embedder: Embedder) -> AsyncIterator[Workbench]:
    settings = Settings(home=home, engine="echo")
    settings.prepare_home()
    database = new_database(settings.home / "jc1.db")
    async with Workbench(
        settings,
        engine=Recorder(),
        memory=DatabaseMemory(database, embedder),
        sessions=Sessions(database),
        presets=Presets(PresetRepository(database)),
        keys=Keys(KeyRepository(database)),
        telemetry=Telemetry(keep=settings.traces),
    ) as made:
        yield made


def recorded(workbench: Workbench) -> list[list[tuple[str, Decoding]]]:
    """What the engine was asked, in blocks: each begins where prefixes were forgotten."""
    assert isinstance(workbench.engine, Recorder)
    blocks: list[list[tuple[str, Decoding]]] = []
    for asked in workbench.engine.asked:
        if isinstance(asked, str):
            blocks.append([])
        else:
            blocks[-1].append(asked)
    return blocks


async def of_presets(
    workbench: Workbench, presets: dict[int, Preset], *, owner: Callable[[Item], str] | None = None, **changes: object
) -> dict[int, list[Latency]]:
    plan = {"prompts": MANY, "loads": ONE, "requests": 4, "blocks": 3, "warm_up": 2, **changes}
    members = {number: (PipelineTarget(workbench, owner), preset) for number, preset in presets.items()}
    return await measure(members, **plan)  # type: ignore[arg-type]


SAMPLED = {n: Preset(f"trial-{n}", decoding={"temperature": 0.5, "max_tokens": 10 + n}) for n in range(3)}


def test_in_as_many_rounds_as_members_each_has_each_place_once() -> None:
    rounds = [order([4, 7, 9], turn, seed=1) for turn in range(6)]
    for cycle in (rounds[:3], rounds[3:]):
        for place in range(3):
            assert {turn[place] for turn in cycle} == {4, 7, 9}
    assert [order([4, 7, 9], turn, seed=1) for turn in range(6)] == rounds
    assert len({tuple(order([4, 7, 9], 0, seed)) for seed in range(20)}) > 1


async def test_members_take_turns_with_the_same_prompts_and_seeds(workbench: Workbench) -> None:
    await of_presets(workbench, SAMPLED, seed=5)
    blocks = recorded(workbench)
    assert len(blocks) == 9
    for turn in range(3):
        three = blocks[3 * turn : 3 * turn + 3]
        who = [block[0][1].max_tokens - 10 for block in three]
        assert who == order([0, 1, 2], turn, seed=5)
        asked = [[(text, decoding.seed) for text, decoding in block] for block in three]
        assert asked[0] == asked[1] == asked[2]
        assert len({seed for _, seed in asked[0]}) == 6
    assert [text for text, _ in blocks[0]] != [text for text, _ in blocks[3]]


async def test_a_greedy_preset_and_one_with_a_seed_of_its_own_get_none(workbench: Workbench) -> None:
    seeded = Preset("seeded", decoding={"temperature": 0.5, "seed": 3})
    await of_presets(workbench, {0: Preset("greedy"), 1: seeded}, blocks=1)
    assert {decoding.seed for block in recorded(workbench) for _, decoding in block} == {None, 3}


@pytest.mark.parametrize("load", BOTH, ids=str)
async def test_each_block_begins_without_prefixes_and_its_warm_up_does_not_count(
    workbench: Workbench, load: Load
) -> None:
    seen: list[Block] = []
    found = await of_presets(workbench, {0: Preset("a"), 1: Preset("b")}, loads=[load], on_block=seen.append)
    assert [len(block) for block in recorded(workbench)] == [6] * 6
    assert [(block.number, block.count) for block in seen] == [(n, 6) for n in range(1, 7)]
    assert {len(block.samples) for block in seen} == {4}
    for member in (0, 1):
        latency = found[member][0]
        assert (latency.load, latency.requests, latency.failed, latency.blocks) == (load, 12, 0, 3)
        own = [block for block in seen if block.member == member]
        assert latency.seconds == pytest.approx(sum(block.seconds for block in own))
        assert latency.tokens_per_second > latency.requests_per_second


async def test_no_prompt_comes_twice_before_all_came_once(workbench: Workbench) -> None:
    await of_presets(workbench, {0: Preset("a")}, prompts=MANY[:4], requests=6, warm_up=2, blocks=1)
    assert set(Counter(text for text, _ in recorded(workbench)[0]).values()) == {2}


async def test_times_hold_at_least_what_the_engine_took_and_each_is_part_of_the_next(workbench: Workbench) -> None:
    """Lower bounds alone: a busy machine makes any time longer, and none shorter."""
    workbench.engine._delay = 0.002  # type: ignore[attr-defined]  # half of it is asserted: some timers round
    found = await of_presets(
        workbench,
        {n: Preset(f"{n}", decoding={"max_tokens": n, "temperature": 0.01}) for n in (2, 8)},
        loads=BOTH,
        objective=Objective(total=60.0),
    )
    for tokens, latencies in found.items():
        for latency in latencies:
            assert latency.tpot is not None
            assert latency.tpot.p50 >= 0.001
            assert latency.stages["decode"] >= 0.001 * (tokens - 1)
            assert latency.total.p50 >= latency.stages["decode"]
            assert latency.tpot.p50 <= latency.total.p50
            assert latency.ttft.p50 < latency.total.p50
            assert latency.ttft.p50 <= latency.ttft.p90 <= latency.ttft.p99
            assert {"tokenize", "prefill", "decode"} <= latency.stages.keys()
            assert latency.goodput == latency.requests_per_second
            assert latency.tokens_per_second == pytest.approx(tokens * latency.requests_per_second)


async def test_memory_is_read_and_never_written(workbench: Workbench) -> None:
    workbench.memory.add("ada", [NewRecord("My cat is called Bo.", "user")])
    before = workbench.memory.list("ada")
    await of_presets(workbench, {0: Preset("a")}, blocks=1, owner=lambda item: "ada")
    assert workbench.memory.list("ada") == before
    traces = workbench.telemetry.recent.list(owner="ada")
    assert len(traces) == 6
    assert all(trace.recalled for trace in traces)


async def test_failures_are_counted_and_never_as_fast(workbench: Workbench) -> None:
    breaking = tuple(Item(f"b{i}", (Message.user(f"break {i}"),)) for i in range(6))
    mixed = tuple(item for pair in zip(MANY, breaking, strict=False) for item in pair)
    seen: list[Block] = []
    found = await of_presets(
        workbench,
        {0: Preset("a")},
        prompts=mixed,
        requests=12,
        warm_up=0,
        blocks=1,
        objective=Objective(total=60.0),
        on_block=seen.append,
    )
    latency = found[0][0]
    good = [sample.total for sample in seen[0].samples if sample.ok]
    assert (latency.requests, latency.failed) == (12, 6)
    assert latency.total == percentiles(good)
    assert latency.requests_per_second == latency.goodput == pytest.approx(6 / latency.seconds)


async def test_a_member_that_only_fails_has_no_figures_and_the_others_do(workbench: Workbench) -> None:
    refused = Preset("refused", decoding={"n": 40, "temperature": 1})
    found = await of_presets(workbench, {0: refused, 1: Preset("fine")}, blocks=1)
    assert found[0] == []
    assert len(found[1]) == 1
    with pytest.raises(EngineFailed, match="invalid_request"):
        await of_presets(workbench, {0: refused}, blocks=1)


@pytest.mark.parametrize("load", BOTH, ids=str)
async def test_cancelling_frees_the_engine(workbench: Workbench, load: Load) -> None:
    holding = tuple(Item(f"h{i}", (Message.user(f"hold {i}"),)) for i in range(4))
    running = asyncio.create_task(
        measure({0: (PipelineTarget(workbench), Preset("a"))}, holding, [load], requests=4, blocks=1, warm_up=0)
    )
    engine = workbench.engine
    assert isinstance(engine, Recorder)
    await engine.held.wait()
    assert engine.active > 0
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert engine.active == 0


async def test_a_workbench_that_keeps_replies_is_refused(workbench: Workbench) -> None:
    workbench.settings = workbench.settings.model_copy(update={"cache_replies": 60})
    with pytest.raises(InvalidSettings, match="cache_replies"):
        await of_presets(workbench, {0: Preset("a")})


@pytest.mark.parametrize(
    "nothing",
    [{"prompts": ()}, {"loads": []}, {"loads": [Load()]}, {"requests": 0}, {"blocks": 0}, {"warm_up": -1}],
    ids=str,
)
async def test_nothing_to_measure_is_said_at_once(workbench: Workbench, nothing: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        await of_presets(workbench, {0: Preset("a")}, **nothing)
    assert recorded(workbench) == []


async def test_members_may_be_on_targets_of_their_own() -> None:
    class Fixed:
        """A target as fast as it says."""

        def __init__(self, seconds: float) -> None:
            self.seconds = seconds

        async def send(self, item: Item, preset: Preset, seed: int) -> Timing:
            return Timing(self.seconds / 2, self.seconds, 5)

        async def forget_prefixes(self) -> bool:
            return False

        async def close(self) -> None:
            pass

    members = {n: (Fixed(seconds), Preset("same")) for n, seconds in {3: 1.0, 8: 2.0}.items()}
    found = await measure(members, MANY, ONE, requests=2, blocks=2, warm_up=0)
    assert found[3][0].total.p50 == pytest.approx(1.0)
    assert found[8][0].ttft.p50 == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("count", "p50", "p90", "p99"),
    [(1, 1, 1, 1), (2, 1, 2, 2), (10, 5, 9, 10), (99, 50, 90, 99), (100, 50, 90, 99), (1000, 500, 900, 990)],
)
def test_percentiles_are_times_that_were_seen(count: int, p50: int, p90: int, p99: int) -> None:
    found = percentiles([float(value) for value in range(count, 0, -1)])
    assert (found.p50, found.p90, found.p99) == (p50, p90, p99)


GOOD = Sample(0.0, 0.0, 1.0, 0.2, tokens=5, stages={"queue": 0.1, "decode": 0.8})


@pytest.mark.parametrize(
    ("objective", "kept"),
    [
        (Objective(), True),
        (Objective(ttft=0.2, tpot=0.2, total=1.0), True),
        (Objective(ttft=0.1), False),
        (Objective(tpot=0.1), False),
        (Objective(total=0.9), False),
    ],
    ids=str,
)
def test_an_objective_is_kept_in_every_part(objective: Objective, kept: bool) -> None:
    assert objective.met_by(GOOD) is kept
    assert not objective.met_by(replace(GOOD, outcome="engine_failed"))


def test_a_reply_of_one_token_has_no_time_per_token_to_miss() -> None:
    assert Objective(tpot=0.001).met_by(replace(GOOD, tokens=1))


def test_rates_are_over_the_spans_and_stages_are_medians() -> None:
    late = replace(GOOD, stages={"queue": 0.5, "decode": 0.8}, ended=3.0)
    failed = replace(GOOD, outcome="engine_failed", tokens=0)
    blocks = [Block(1, 2, 0, ONE[0], [GOOD, failed], 1.0), Block(2, 2, 0, ONE[0], [late, late], 3.0)]
    found = summary(blocks, Objective(total=2.0))
    assert found is not None
    assert (found.requests_per_second, found.tokens_per_second, found.goodput) == (3 / 4, 15 / 4, 1 / 4)
    assert found.stages == {"queue": 0.5, "decode": 0.8}
