"""Batches: pictures with their questions as ids, packed so that a picture is paid for once and asked about many times.

A row is `<s>` and the system prompt, which all rows share, the picture, and then branches: one question with its answer
each, now and then two, as in a conversation. A branch sees the picture and itself but no other branch, and its
positions go on from the picture's end, so each is exactly the prompt of a single question. Knows the packing. Knows
nothing about the network.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.tiny.tokenizer import Encoder
from experiments.tiny_vision.draw import draw, style
from experiments.tiny_vision.labels import Labels, labels
from experiments.tiny_vision.questions import Question, questions
from experiments.tiny_vision.scene import scene
from jc1.prompt import DEFAULT_SYSTEM

BRANCHES = 8
"""Questions about a picture."""


@dataclass(frozen=True, slots=True)
class Example:
    """A picture (64, 64, 3), what its patches show, and what is asked about it."""

    pixels: NDArray[np.uint8]
    labels: Labels
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures and rows for one step.

    `head` (S) are the ids that all rows begin with. `pixels` (B, 3, 64, 64) in -1..1, `classes` (B, P, 4), `offsets`
    (B, P, 2), `ids` and `places` (B, T), `mask` (B, 1, T, T). The token at (rows, columns + 1) is to be predicted from
    (rows, columns), each of shape (N). `spans` say which of the N belong to one answer: (first, last + 1, skill).
    """

    head: Tensor
    pixels: Tensor
    classes: Tensor
    offsets: Tensor
    ids: Tensor
    places: Tensor
    mask: Tensor
    rows: Tensor
    columns: Tensor
    targets: Tensor
    spans: list[tuple[int, int, str]]


def example(rng: random.Random, level: float, many: int = BRANCHES, most: int = 6) -> Example:
    """Draw a scene by lot and ask about it. `level` says how badly photographed the drawing may look, 0 to 1,
    `most` how many things it shows at most.
    """
    shown = scene(rng, most=most)
    drawing = draw(shown, rng, style(rng, level))
    return Example(drawing.pixels, labels(shown, drawing), tuple(questions(shown, rng, many)))


def pixels(pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Return pictures as the tower takes them: (B, 3, side, side), from -1 to 1."""
    stacked = torch.from_numpy(np.stack(pictures))
    return stacked.permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1.0).contiguous()


def head(encoder: Encoder) -> list[int]:
    """Return the ids of the system prompt, as the chat template renders it."""
    return [encoder.bos, encoder.roles["system"], *encoder.text(DEFAULT_SYSTEM), encoder.end]


def collate(
    examples: Sequence[Example], encoder: Encoder, image_token: int, patches: int, rng: random.Random | None = None
) -> Batch:
    """Pack examples into a batch. With `rng`, one branch of five holds two questions, as a conversation does."""
    system, picture = head(encoder), [encoder.roles["user"], *[image_token] * patches]
    rows = [_row(e.questions, encoder, rng) for e in examples]
    longest = len(picture) + max(len(row[0]) for row in rows)
    ids = np.full((len(rows), longest), encoder.end, dtype=np.int64)  # (B, T)
    branches = np.full((len(rows), longest), -1, dtype=np.int64)
    places = np.zeros((len(rows), longest), dtype=np.int64)
    ids[:, : len(picture)], branches[:, : len(picture)] = picture, 0
    places[:, : len(picture)] = np.arange(len(system), len(system) + len(picture))
    at: list[int] = []
    columns: list[int] = []
    spans: list[tuple[int, int, str]] = []
    for i, (tokens, owners, steps, answers) in enumerate(rows):
        stop = len(picture) + len(tokens)
        ids[i, len(picture) : stop], branches[i, len(picture) : stop] = tokens, owners
        places[i, len(picture) : stop] = np.add(steps, len(system) + len(picture))
        for first, last, skill in answers:
            spans.append((len(columns), len(columns) + last - first, skill))
            columns += range(
                len(picture) + first - 1, len(picture) + last - 1
            )  # each is predicted from the one before it
            at += [i] * (last - first)
    owner = torch.from_numpy(branches)
    before = torch.ones(longest, longest, dtype=torch.bool).tril()
    mask = before & ((owner[:, :, None] == owner[:, None, :]) | (owner[:, None, :] == 0))  # (B, T, T)
    tensors = torch.from_numpy(ids), torch.tensor(at), torch.tensor(columns)
    return Batch(
        torch.tensor(system),
        pixels([e.pixels for e in examples]),
        torch.from_numpy(np.stack([e.labels.classes for e in examples])),
        torch.from_numpy(np.stack([e.labels.offsets for e in examples])),
        tensors[0],
        torch.from_numpy(places),
        mask[:, None],
        tensors[1],
        tensors[2],
        tensors[0][tensors[1], tensors[2] + 1],
        spans,
    )


def _row(
    asked: Sequence[Question], encoder: Encoder, rng: random.Random | None
) -> tuple[list[int], list[int], list[int], list[tuple[int, int, str]]]:
    """Return ids, their branches, their positions, and the answers as (first, last + 1, skill), behind the picture."""
    ids: list[int] = []
    owners: list[int] = []
    steps: list[int] = []
    answers: list[tuple[int, int, str]] = []
    branch, step = 0, 0
    for question in asked:
        goes_on = rng is not None and step > 0 and rng.random() < 0.2
        if not goes_on:
            branch, step = branch + 1, 0
        start = [encoder.roles["user"]] if goes_on else []
        prompt = [*start, *encoder.text(question.text), encoder.end, encoder.roles["assistant"]]
        answer = [*encoder.text(question.answer), encoder.end]
        first = len(ids) + len(prompt)
        answers.append((first, first + len(answer), question.skill))
        ids += prompt + answer
        new = len(prompt) + len(answer)
        owners += [branch] * new
        steps += range(step, step + new)
        step += new
    return ids, owners, steps, answers
