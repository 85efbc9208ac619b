"""Batches: dialogues turned into ids with the replies marked, sorted by length so that little is padding.

Knows the curriculum: how much of what is written at which point of the training. Knows nothing about the network.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from experiments.tiny.tokenizer import Encoder
from jc1_lab.dialogues.dialogue import Dialogue, Shape, Writer, shape

LONGEST = 900
"""Longer dialogues are left out of training, in tokens."""


@dataclass(frozen=True, slots=True)
class Row:
    """One dialogue as ids, and the replies in it as (first, last + 1, kind): the positions to be predicted."""

    ids: list[int]
    replies: list[tuple[int, int, str]]


@dataclass(frozen=True, slots=True)
class Batch:
    """`ids` (B, T); the token at (rows, columns + 1) is to be predicted from (rows, columns), each of shape (N).

    `spans` say which of the N belong to one reply: (first, last + 1, kind).
    """

    ids: Tensor
    rows: Tensor
    columns: Tensor
    targets: Tensor
    spans: list[tuple[int, int, str]]
    places: Tensor | None
    tokens: int


def row(dialogue: Dialogue, encoder: Encoder, rng: random.Random | None = None, share: float = 0.5) -> Row:
    """Encode a dialogue; with `rng`, words are cut at random, a `share` of them."""
    cuts: dict[str, list[int]] | None = {} if rng else None
    ids, replies = [encoder.bos], []
    for turn in dialogue.turns:
        ids.append(encoder.roles[turn.role])
        start = len(ids)
        ids += encoder.text(turn.text, cuts, rng, share)
        ids.append(encoder.end)
        if turn.kind:
            replies.append((start, len(ids), turn.kind))
    return Row(ids, replies)


def collate(rows: Sequence[Row], pad: int, places: Tensor | None = None) -> Batch:
    """Pad rows to one length with `pad`, and gather the positions of their replies. `places` are positions (T)."""
    longest = max(len(r.ids) for r in rows)
    ids = torch.full((len(rows), longest), pad, dtype=torch.long)  # (B, T)
    where: list[int] = []
    columns: list[int] = []
    spans: list[tuple[int, int, str]] = []
    for i, r in enumerate(rows):
        ids[i, : len(r.ids)] = torch.tensor(r.ids)
        for start, stop, kind in r.replies:
            spans.append((len(columns), len(columns) + stop - start, kind))
            columns += range(start - 1, stop - 1)  # each token is predicted from the one before it
            where += [i] * (stop - start)
    at, from_ = torch.tensor(where), torch.tensor(columns)  # (N,) each
    return Batch(ids, at, from_, ids[at, from_ + 1], spans, places, sum(len(r.ids) for r in rows))


def level(progress: float) -> float:
    """Return how hard the hardest dialogues are: from one fact to twelve records in the first half of the training."""
    return min(1.0, max(0.0, (progress - 0.015) / 0.4))


def dialogue(rng: random.Random, writer: Writer, progress: float) -> Dialogue:
    """Draw a dialogue of the kind that this point of the training has."""
    copying = 0.5 if progress < 0.02 else max(0.04, 0.25 * (1 - progress / 0.2))
    if rng.random() < copying:
        return writer.copying(rng.randint(2, 3 + round(40 * min(progress, 0.15))), rng.randint(3, 7))
    top = level(progress)
    hard = top if rng.random() < 0.35 else top * rng.random()
    chosen = shape(rng, hard)
    if progress > 0.4 and rng.random() < 0.08:
        chosen = Shape(facts=rng.randint(6, 12), turns=rng.randint(5, 9), noise=1.0, history=rng.randint(4, 9))
    # Questions cost little once the memories are read, and are what is learnt from.
    return writer.write(replace(chosen, turns=chosen.turns + rng.randint(0, 5)))


def pool(seed: int, number: int, progress: float, encoder: Encoder, *, batches: int, tokens: int) -> list[Batch]:
    """Return `batches` batches of about `tokens` tokens each, in random order, the same for the same arguments."""
    rng = random.Random(f"{seed}-{number}")
    writer = Writer(rng)
    rows: list[Row] = []
    total = 0
    while total < batches * tokens:
        rough = rng if rng.random() < 0.4 else None
        one = row(dialogue(rng, writer, progress), encoder, rough, rng.choice((0.2, 0.5, 1.0)))
        if one.replies and len(one.ids) <= LONGEST:
            rows.append(one)
            total += len(one.ids)
    # By length, so that little is padding; a group is full where its padded size reaches `tokens`.
    rows.sort(key=lambda r: len(r.ids))
    groups: list[list[Row]] = [[]]
    for r in rows:
        if (len(groups[-1]) + 1) * len(r.ids) > tokens * 1.04 and groups[-1]:
            groups.append([])
        groups[-1].append(r)
    rng.shuffle(groups)
    stretch = progress > 0.3
    return [
        collate(g, encoder.end, _gaps(rng, max(len(r.ids) for r in g)) if stretch and rng.random() < 0.2 else None)
        for g in groups
    ]


def _gaps(rng: random.Random, length: int) -> Tensor:
    """Return positions with two gaps, shape (T,), so that distances of long prompts are met without their cost."""
    places = torch.arange(length)
    for _ in range(2):
        places[rng.randrange(length) :] += rng.randint(0, max(0, (2000 - length) // 2))
    return places
