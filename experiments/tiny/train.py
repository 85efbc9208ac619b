"""The training loop: batches in, weights out, resumable and stoppable at any moment.

Knows rates, checkpoints and the clock. Knows nothing about sentences or the exported folder.

    1) draw a pool of batches for the progress made
    2) one step for each batch
    3) every few minutes: checkpoint and measure

Fixed seeds: the same batches in the same order. Rate and curriculum follow the share of the plan that is used up, by
tokens or by minutes, whichever is more; where minutes decide, a faster machine ends with other, better weights.
"""

from __future__ import annotations

import json
import random
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.nn import functional as F

from experiments.tiny.batches import Batch, collate, pool, row
from experiments.tiny.model import Llama, Size
from experiments.tiny.optimize import Optimizer
from experiments.tiny.tokenizer import Encoder
from jc1_lab.dialogues.dialogue import Writer, shape


@dataclass(frozen=True, slots=True)
class Plan:
    """Length and rates of the training. Progress is the larger of the used shares of `minutes` and of `tokens`."""

    minutes: float = 110.0
    tokens: float = 40e6
    batch: int = 4500
    batches_in_pool: int = 32
    muon_rate: float = 4e-3
    adam_rate: float = 2e-3
    seed: int = 1
    checkpoint_seconds: float = 180.0
    measure_every: int = 250


@dataclass(slots=True)
class State:
    """Progress of the training; with the weights and the optimizer's tensors, all that a checkpoint holds."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    pool: int = 0
    index: int = 0
    pool_progress: float = 0.0

    def progress(self, plan: Plan) -> float:
        return min(1.0, max(self.seconds / (60 * plan.minutes), self.tokens / plan.tokens))


def rate(progress: float, step: int) -> float:
    """Return the share of the peak rate: up over 60 steps, level until .35, then down in a line to nearly nothing."""
    down = 1.0 if progress < 0.35 else (1.0 - progress) / 0.65
    return min(1.0, (step + 1) / 60) * max(down, 0.01)


def train(
    folder: Path,
    encoder: Encoder,
    plan: Plan,
    size: Size | None = None,
    *,
    say: Callable[[str], None] = print,
    stop_after: int | None = None,
    fuse: bool = False,
    teacher: Llama | None = None,
) -> tuple[Llama, State]:
    """Train from the checkpoint in `folder`, or from the start, until the plan is used up (or for `stop_after` steps).

    `fuse` compiles the layers: faster after a minute. With a `teacher` the model learns what that one would say instead
    of what was written, and starts from some of its layers.
    """
    torch.manual_seed(plan.seed)
    model = Llama(size or Size())
    if teacher is not None:
        model.take_from(teacher)
    optimizer = Optimizer(model)
    state = load(folder, model, optimizer) or State()
    if fuse:
        torch._inductor.config.cpp.dynamic_threads = True
        for layer in model.model.layers:
            layer.compile(dynamic=True)
    checks = measuring(encoder)
    threads = Threads() if fuse else None
    saved = time.monotonic()
    recent: deque[float] = deque(maxlen=40)
    with _interrupts() as stopping:
        while state.progress(plan) < 1.0 and not stopping:
            # 1) A pool of batches; one that was begun before an interruption is drawn again, as it was
            if state.index == 0:
                state.pool_progress = state.progress(plan)
            batches = pool(
                plan.seed, state.pool, state.pool_progress, encoder, batches=plan.batches_in_pool, tokens=plan.batch
            )
            # 2) One step for each batch
            for batch in batches[state.index :]:
                start = time.monotonic()
                share = rate(state.progress(plan), state.step)
                loss = step(model, optimizer, batch, plan, share, teacher)
                if threads:
                    threads.saw(batch.tokens / (time.monotonic() - start))
                state.step, state.index, state.tokens = state.step + 1, state.index + 1, state.tokens + batch.tokens
                state.seconds += time.monotonic() - start
                recent.append(loss)
                if state.step % 20 == 0:
                    say(_line(state, plan, sum(recent) / len(recent), share))
                # 3) Measure and checkpoint
                if state.step % plan.measure_every == 0:
                    start = time.monotonic()
                    say(
                        f"step {state.step}: exact "
                        + " ".join(f"{k} {v:.3f}" for k, v in measure(model, checks).items())
                    )
                    state.seconds += time.monotonic() - start
                if time.monotonic() - saved > plan.checkpoint_seconds:
                    save(folder, model, optimizer, state)
                    saved = time.monotonic()
                if stopping or state.progress(plan) >= 1.0 or (stop_after and state.step >= stop_after):
                    break
            if state.index >= len(batches):
                state.pool, state.index = state.pool + 1, 0
            if stop_after and state.step >= stop_after:
                break
    save(folder, model, optimizer, state)
    return model, state


class Threads:
    """Chooses between one thread and all: where other work holds a core, two threads wait for the slower one.

    Now and then the other choice is tried for two steps.
    """

    def __init__(self, every: int = 24) -> None:
        self.most = torch.get_num_threads()
        self.every = every
        self.speed = {1: 0.0, self.most: 0.0}
        self.now, self.count = self.most, 0

    def saw(self, speed: float) -> None:
        """Take in the speed of the last step, in tokens per second, and choose the threads of the next one."""
        old = self.speed[self.now]
        self.speed[self.now] = speed if not old else 0.6 * old + 0.4 * speed
        self.count += 1
        best = max(self.speed, key=lambda n: self.speed[n])
        trying = self.count % self.every in (0, 1)
        self.now = next((n for n in self.speed if n != best), best) if trying else best
        torch.set_num_threads(self.now)


def step(
    model: Llama, optimizer: Optimizer, batch: Batch, plan: Plan, share: float, teacher: Llama | None = None
) -> float:
    """Make one step, with `share` of the plan's rates, and return the loss.

    With a `teacher` the targets are the probabilities that it gives, not the tokens that were written.
    """
    targets = batch.targets
    if teacher is not None:
        with torch.no_grad():
            targets = teacher(batch.ids, batch.rows, batch.columns, batch.places).softmax(-1)  # (N, V)
    logits = model(batch.ids, batch.rows, batch.columns, batch.places)  # (N, V)
    loss = F.cross_entropy(logits, targets)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step(plan.muon_rate * share, plan.adam_rate * share)
    return float(loss.detach())


def _line(state: State, plan: Plan, loss: float, share: float) -> str:
    done = state.progress(plan)
    minutes = state.seconds / done * (1 - done) / 60
    bar = "#" * round(20 * done)
    speed = f"{state.tokens / 1e6:.1f}M tokens {state.tokens / state.seconds:.0f}/s"
    return f"[{bar:<20}] {done:6.1%} step {state.step} loss {loss:.3f} rate {share:.2f} {speed}, {minutes:.0f} min left"


def measuring(encoder: Encoder, count: int = 160, seed: int = 99) -> list[Batch]:
    """Return a fixed set of dialogues of all kinds that training does not draw, half of them with held-out values."""
    rows = []
    for held_out in (False, True):
        rng = random.Random(f"measure-{seed}-{held_out}")
        writer = Writer(rng, held_out=held_out)
        for _ in range(count // 2):
            dialogue = writer.write(shape(rng, rng.random()))
            for turn in dialogue.turns:
                turn.kind = turn.kind and ("new_" if held_out and turn.kind in ("told", "noted") else "") + turn.kind
            one = row(dialogue, encoder)
            if one.replies:
                rows.append(one)
    rows.sort(key=lambda r: len(r.ids))
    return [collate(rows[i : i + 16], encoder.end) for i in range(0, len(rows), 16)]


@torch.no_grad()
def measure(model: Llama, batches: list[Batch]) -> dict[str, float]:
    """Return the share of replies that greedy decoding would give exactly, each token the most likely one, by kind."""
    right: dict[str, list[bool]] = {}
    for batch in batches:
        hits = model(batch.ids, batch.rows, batch.columns).argmax(-1) == batch.targets  # (N,)
        for start, stop, kind in batch.spans:
            right.setdefault(kind, []).append(bool(hits[start:stop].all()))
    return {kind: sum(r) / len(r) for kind, r in sorted(right.items())}


def save(folder: Path, model: Llama, optimizer: Optimizer, state: State) -> None:
    """Write weights and optimizer as safetensors, the rest as JSON; the JSON, which names them, is replaced last."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    name = f"step-{state.step}.safetensors"
    tensors = {
        **{f"model.{n}": p.detach() for n, p in model.named_parameters()},
        **{f"optimizer.{n}": t for n, t in optimizer.state().items()},
    }
    save_file({n: t.contiguous() for n, t in tensors.items()}, str(folder / name))
    record = {"file": name, "count": optimizer.count, "state": asdict(state), "size": asdict(model.size)}
    fresh = folder / "checkpoint.json.new"
    fresh.write_text(json.dumps(record, indent=2) + "\n")
    fresh.replace(folder / "checkpoint.json")
    for old in folder.glob("step-*.safetensors"):
        if old.name != name:
            old.unlink()


def load(folder: Path, model: Llama, optimizer: Optimizer | None = None) -> State | None:
    """Fill model and optimizer from the checkpoint in `folder`; return the state, None where there is no checkpoint."""
    from safetensors.torch import load_file

    path = folder / "checkpoint.json"
    if not path.exists():
        return None
    record = json.loads(path.read_text())
    tensors = load_file(str(folder / record["file"]))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[f"model.{name}"])
    if optimizer is not None:
        optimizer.load(
            {n.removeprefix("optimizer."): t for n, t in tensors.items() if n.startswith("optimizer.")}, record["count"]
        )
    return State(**record["state"])


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Yield a list that is not empty once Ctrl-C or SIGTERM came: the step is finished and a checkpoint written."""
    signals: list[int] = []
    try:
        before = {n: signal.signal(n, lambda n, _: signals.append(n)) for n in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:
        before = {}  # not the main thread: whoever runs that one decides
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
