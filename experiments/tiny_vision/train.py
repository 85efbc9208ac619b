"""The training loop: drawings in, weights out, resumable and stoppable at any moment.

Knows rates, checkpoints and the clock. Knows nothing about how drawings are made or how the folder is written.

    1) a pool of drawings, drawn ahead by a process of its own
    2) look: the tower alone learns what each patch shows, 64 answers a picture at a tenth of the price
    3) talk: the whole model learns to answer; the tower goes on learning both
    4) now and then: measure, checkpoint

Fixed seeds: the same drawings in the same order. Rates and curriculum follow the share of the plan's pictures that is
used up, so that a busy machine only takes longer; where `minutes` end the plan first, a faster one ends with other,
better weights.
"""

from __future__ import annotations

import json
import random
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from experiments.tiny.model import Llama, Size
from experiments.tiny.optimize import Optimizer
from experiments.tiny.tokenizer import Encoder
from experiments.tiny_vision.batches import BRANCHES, Batch, Example, collate, example, pixels
from experiments.tiny_vision.model import TowerSize, Vision


@dataclass(frozen=True, slots=True)
class Plan:
    """Length and rates of the training. Progress is the larger of the used shares of `pictures` and of `minutes`.

    `pictures` are those that are talked about; ten that are only looked at count as one, since they cost as much.
    `look` is the share of the plan in which the tower learns alone. A pool has `pool` pictures; steps of looking take
    `look_batch` of them, steps of talking `batch`. Rates are peaks, of Muon for
    matrices and of Adam for the rest: of the tower while it looks, then of what sees, and of the language half.
    """

    pictures: float = 90_000
    minutes: float = 1e9
    look: float = 0.2
    pool: int = 512
    look_batch: int = 64
    batch: int = 16
    looking: tuple[float, float] = (8e-3, 3e-3)
    eyes: tuple[float, float] = (3e-3, 1.5e-3)
    words: tuple[float, float] = (2e-3, 1e-3)
    seeing: float = 0.3
    """Weight of the patches' loss while talking."""
    warm_up: int = 60
    """Steps until a rate has its peak, counted from the phase's beginning."""
    seed: int = 1
    checkpoint_seconds: float = 180.0
    line_every: int = 20
    measure_every: int = 400


@dataclass(slots=True)
class State:
    """Progress of the training; with the weights and the optimizers' tensors, all that a checkpoint holds."""

    step: int = 0
    talked: int = 0
    """Steps of talking."""
    looked_at: int = 0
    """Pictures of the steps of looking."""
    talked_about: int = 0
    """Pictures of the steps of talking."""
    seconds: float = 0.0
    pool: int = 0
    index: int = 0
    """Pictures of the pool that are used up."""
    pool_progress: float = 0.0
    """For which this pool was drawn: that at the beginning of the one before, when it could be drawn ahead."""
    next_progress: float = 0.0

    def progress(self, plan: Plan) -> float:
        pictures = self.talked_about + 0.1 * self.looked_at
        return min(1.0, max(pictures / plan.pictures, self.seconds / (60 * plan.minutes)))


def rate(progress: float, steps: int, warm_up: int) -> float:
    """Return the share of the peak rate: up over `warm_up` steps, level until .5, then down in a line to .01."""
    down = 1.0 if progress < 0.5 else (1.0 - progress) / 0.5
    return min(1.0, (steps + 1) / warm_up) * max(down, 0.01)


def level(progress: float) -> float:
    """Return how badly photographed drawings may look: at once a little, from a tenth of the plan on all they can."""
    return min(1.0, 0.3 + 7 * progress)


def most(progress: float, plan: Plan) -> int:
    """Return how many things a picture shows at most: while the tower looks, all; then one, two, and soon all again.

    Of a single thing every question can be answered by looking anywhere, which is learnt first.
    """
    talked = (progress - plan.look) / max(1e-9, 1 - plan.look)
    return 6 if not 0 <= talked < 0.06 else 1 if talked < 0.02 else 2


def pool(seed: int, number: int, progress: float, plan: Plan) -> list[Example]:
    """Return a pool of examples, the same for the same arguments; while the tower looks, nothing is asked."""
    rng = random.Random(f"{seed}-{number}")
    many = 0 if progress < plan.look else BRANCHES
    return [example(rng, level(progress), many, most(progress, plan)) for _ in range(plan.pool)]


def train(
    folder: Path,
    encoder: Encoder,
    plan: Plan,
    language: Llama,
    tower: TowerSize | None = None,
    *,
    say: Callable[[str], None] = print,
    stop_after: int | None = None,
    ahead: bool = False,
) -> tuple[Vision, State]:
    """Train from the checkpoint in `folder`, or from the start, until the plan is used up (or for `stop_after` steps).

    Args:
        language: The language model to start from; its vocabulary is the encoder's.
        ahead: Whether a second process draws the next pool meanwhile.
    """
    torch.manual_seed(plan.seed)
    model = started(language, tower)
    eyes, words = optimizers(model)
    state = load(folder, model, (eyes, words)) or State()
    if state.step:
        say(f"goes on from step {state.step}")
    checks = measuring(encoder, model)
    saved = time.monotonic()
    recent, speeds = deque[float](maxlen=40), deque[float](maxlen=40)
    with _interrupts() as stopping, _drawing(plan, ahead) as drawn:
        while state.progress(plan) < 1.0 and not stopping and not (stop_after and state.step >= stop_after):
            # 1) A pool; one that was begun before an interruption is drawn again, as it was
            if state.index == 0:
                state.pool_progress, state.next_progress = state.next_progress, state.progress(plan)
            examples = drawn(state)
            talking = state.pool_progress >= plan.look
            if talking and not state.talked:
                recent.clear()
                speeds.clear()
            size = plan.batch if talking else plan.look_batch
            while state.index < len(examples):
                start = time.monotonic()
                chosen = examples[state.index : state.index + size]
                # 2) and 3) One step
                loss, right = (talk if talking else look)(model, eyes, words, chosen, encoder, plan, state)
                state.step, state.talked = state.step + 1, state.talked + talking
                state.index += len(chosen)
                if talking:
                    state.talked_about += len(chosen)
                else:
                    state.looked_at += len(chosen)
                state.seconds += time.monotonic() - start
                recent.append(loss)
                speeds.append(len(chosen) / (time.monotonic() - start))
                if state.step % plan.line_every == 0:
                    say(_line(state, plan, sum(recent) / len(recent), right, talking, sum(speeds) / len(speeds)))
                # 4) Measure and checkpoint
                if talking and state.step % plan.measure_every == 0:
                    start = time.monotonic()
                    shares = " ".join(f"{skill} {share:.2f}" for skill, share in measure(model, checks).items())
                    say(f"step {state.step}: exact {shares}")
                    state.seconds += time.monotonic() - start
                if time.monotonic() - saved > plan.checkpoint_seconds:
                    save(folder, model, (eyes, words), state)
                    saved = time.monotonic()
                if stopping or state.progress(plan) >= 1.0 or (stop_after and state.step >= stop_after):
                    break
            if state.index >= len(examples):
                state.pool, state.index = state.pool + 1, 0
    save(folder, model, (eyes, words), state)
    return model, state


def started(language: Llama, tower: TowerSize | None = None) -> Vision:
    """Return an untrained model around a language model that is trained."""
    size = language.size
    bigger = Size(size.vocabulary + 1, size.layers, size.width, size.heads, size.inner, size.theta, size.positions)
    model = Vision(tower or TowerSize(), bigger)
    model.take_language(language)
    return model


def optimizers(model: Vision) -> tuple[Optimizer, Optimizer]:
    """Return the optimizer of what is new and the one of the language half, which is to change more slowly."""
    new = torch.nn.ModuleDict(
        {name: getattr(model, name) for name in ("vision_tower", "multi_modal_projector", "patch_head")}
    )
    return Optimizer(new), Optimizer(model.language_model)


def look(
    model: Vision,
    eyes: Optimizer,
    words: Optimizer,
    chosen: Sequence[Example],
    encoder: Encoder,
    plan: Plan,
    state: State,
) -> tuple[float, Tensor]:
    """Make one step with the tower alone; return the loss and the shares of patches seen right."""
    classes = torch.stack([torch.from_numpy(e.labels.classes) for e in chosen])
    offsets = torch.stack([torch.from_numpy(e.labels.offsets) for e in chosen])
    loss, right = model.patch_head.loss(model.vision_tower(pixels([e.pixels for e in chosen])), classes, offsets)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(eyes.parameters.values(), 1.0)
    share = rate(state.progress(plan), state.step, plan.warm_up)
    eyes.step(plan.looking[0] * share, plan.looking[1] * share)
    return float(loss.detach()), right


def talk(
    model: Vision,
    eyes: Optimizer,
    words: Optimizer,
    chosen: Sequence[Example],
    encoder: Encoder,
    plan: Plan,
    state: State,
) -> tuple[float, Tensor]:
    """Make one step with the whole model; return the loss of the answers and the shares of patches seen right."""
    rng = random.Random(f"{plan.seed}-{state.pool}-{state.index}")
    batch = collate(chosen, encoder, model.image_token, model.tower_size.patches, rng)
    features = model.vision_tower(batch.pixels)
    logits = model(batch.head, batch.ids, features, batch.places, batch.mask, batch.rows, batch.columns)  # (N, V)
    loss = F.cross_entropy(logits, batch.targets)
    patches, right = model.patch_head.loss(features, batch.classes, batch.offsets)
    (loss + plan.seeing * patches).backward()  # type: ignore[no-untyped-call]
    for optimizer, (muon, adam) in ((eyes, plan.eyes), (words, plan.words)):
        torch.nn.utils.clip_grad_norm_(optimizer.parameters.values(), 1.0)
        share = rate(state.progress(plan), state.talked, plan.warm_up)
        optimizer.step(muon * share, adam * share)
    return float(loss.detach()), right


def _line(state: State, plan: Plan, loss: float, right: Tensor, talking: bool, speed: float) -> str:
    done = state.progress(plan)
    minutes = state.seconds / done * (1 - done) / 60
    bar = "#" * round(20 * done)
    seen = "/".join(f"{float(r):.2f}" for r in right)
    return (
        f"[{bar:<20}] {done:6.1%} {'talk' if talking else 'look'} step {state.step} loss {loss:.3f} "
        f"shape/colour/size/letter {seen} {speed:.1f} pictures/s, {minutes:.0f} min left"
    )


def measuring(encoder: Encoder, model: Vision, count: int = 192, seed: int = 99) -> list[Batch]:
    """Return a fixed set of pictures that training does not draw, with questions about them."""
    rng = random.Random(f"measure-{seed}")
    examples = [example(rng, 1.0) for _ in range(count)]
    return [
        collate(examples[i : i + 16], encoder, model.image_token, model.tower_size.patches)
        for i in range(0, len(examples), 16)
    ]


@torch.no_grad()
def measure(model: Vision, batches: Sequence[Batch]) -> dict[str, float]:
    """Return the share of answers that greedy decoding would give exactly, each token the most likely one, by skill."""
    right: dict[str, list[bool]] = {}
    for batch in batches:
        features = model.vision_tower(batch.pixels)
        logits = model(batch.head, batch.ids, features, batch.places, batch.mask, batch.rows, batch.columns)
        hits = logits.argmax(-1) == batch.targets  # (N,)
        for start, stop, skill in batch.spans:
            right.setdefault(skill, []).append(bool(hits[start:stop].all()))
    return {skill: sum(r) / len(r) for skill, r in sorted(right.items())}


@contextmanager
def _drawing(plan: Plan, ahead: bool) -> Iterator[Callable[[State], list[Example]]]:
    """Yield a function that returns a state's pool; with `ahead`, another process draws the next one meanwhile."""
    if not ahead:
        yield lambda state: pool(plan.seed, state.pool, state.pool_progress, plan)
        return
    coming: dict[int, Future[list[Example]]] = {}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:

        def drawn(state: State) -> list[Example]:
            waiting = coming.pop(state.pool, None)
            examples = waiting.result() if waiting else pool(plan.seed, state.pool, state.pool_progress, plan)
            coming[state.pool + 1] = executor.submit(pool, plan.seed, state.pool + 1, state.next_progress, plan)
            return examples

        try:
            yield drawn
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


def save(folder: Path, model: Vision, optimizers: Sequence[Optimizer], state: State) -> None:
    """Write weights and optimizers as safetensors, the rest as JSON; the JSON, which names them, is replaced last."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    name = f"step-{state.step}.safetensors"
    tensors = {f"model.{n}": p.detach() for n, p in model.named_parameters()}
    for i, optimizer in enumerate(optimizers):
        tensors |= {f"optimizer{i}.{n}": t for n, t in optimizer.state().items()}
    save_file({n: t.contiguous() for n, t in tensors.items()}, str(folder / name))
    counts = [optimizer.count for optimizer in optimizers]
    record = {"file": name, "counts": counts, "state": asdict(state), "tower": asdict(model.tower_size)}
    fresh = folder / "checkpoint.json.new"
    fresh.write_text(json.dumps(record, indent=2) + "\n")
    fresh.replace(folder / "checkpoint.json")
    for old in folder.glob("step-*.safetensors"):
        if old.name != name:
            old.unlink()


def load(folder: Path, model: Vision, optimizers: Sequence[Optimizer] = ()) -> State | None:
    """Fill model and optimizers from the checkpoint in `folder`; return the state, None where there is none."""
    from safetensors.torch import load_file

    path = folder / "checkpoint.json"
    if not path.exists():
        return None
    record = json.loads(path.read_text())
    tensors = load_file(str(folder / record["file"]))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[f"model.{name}"])
    for i, optimizer in enumerate(optimizers):
        prefix = f"optimizer{i}."
        state = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        optimizer.load(state, record["counts"][i])
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
