"""Measures jc1-tiny-draft as it ships: how many of the tokens that it drafts jc1-tiny accepts. Writes its card.

Knows the sets and how acceptance is counted over them. Knows nothing about training.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from experiments.tiny.evaluate import HANDWRITTEN, Case, cases, handwritten_prompt
from experiments.tiny.tokenizer import Encoder
from jc1.decoding import Decoding
from jc1.engines.base import EnginePrompt
from jc1.engines.settings import EngineSettings

TOKENS = 3
"""Tokens drafted at a time."""
WANTED = 0.6
"""What acceptance on questions that memory answers was meant to reach."""

CARD = """---
license: apache-2.0
language: en
library_name: transformers
---

# jc1-tiny-draft

The draft of jc1-tiny for speculative decoding: {layers} layers instead of 6, {parameters:.1f} million
parameters, the same tokenizer. It guesses what jc1-tiny will say; jc1-tiny verifies several guesses in one pass, so its
replies stay the same, token by token. It is not meant to be talked to.

    jc1 serve --speculation draft:jc1-tiny-draft:3

## Figures
Greedy, {tokens} tokens drafted at a time, with transformers; `python -m experiments.tiny distill` ends with measuring
them. Acceptance is the share of drafted tokens that jc1-tiny would have said too. How much time that saves depends on
engine and machine: `python -m experiments.benchmarks.engines speculation` measures it.

| set | replies | acceptance | wanted |
|---|---|---|---|
| generated, names and values never seen | {held_n} | {held_out:.3f} | {wanted} |
| - of these, questions that memory answers | {told_n} | {told:.3f} | {wanted} |
| handwritten | {hand_n} | {hand:.3f} | |

## Training
Distilled: it starts from jc1-tiny's embeddings and two of its layers, and learns the probabilities that jc1-tiny gives
to each next token of the replies in the dialogues that `jc1_lab.dialogues` writes. It saw {millions:.0f} million tokens
in {steps:,} steps. Apache-2.0.
"""


def acceptance(model: Path, draft: Path, *, dialogues: int = 60) -> dict[str, Any]:
    """Count drafted and accepted tokens of `draft` beside `model`, by set."""
    encoder = Encoder(model / "tokenizer.model")
    held_out = cases(encoder, dialogues, held_out=True, seed=7)
    items = [json.loads(line) for line in HANDWRITTEN.read_text(encoding="utf-8").splitlines()]
    hand = [Case(tuple(encoder.prompt(handwritten_prompt(item))), "", "handwritten") for item in items]
    counted = asyncio.run(_counts(model, draft, [*held_out, *hand]))
    figures = {
        "held_out": _sum([n for case, n in zip(held_out, counted, strict=False)]),
        "told": _sum([n for case, n in zip(held_out, counted, strict=False) if case.kind == "told"]),
        "handwritten": _sum(counted[len(held_out) :]),
    }
    print(json.dumps(figures, indent=2))
    return figures


async def _counts(model: Path, draft: Path, prompts: Sequence[Case]) -> list[tuple[int, int]]:
    from jc1.engines.transformers.engine import TransformersEngine

    engine = TransformersEngine(EngineSettings(model=str(model), speculation=f"draft:{draft}:{TOKENS}"))
    await engine.start()
    counts = []
    try:
        for case in prompts:
            async with aclosing(engine.generate(EnginePrompt((), case.prompt), Decoding(max_tokens=64))) as steps:
                async for step in steps:
                    speculation: Any = step.speculation
            counts.append((speculation["drafted"], speculation["accepted"]))
    finally:
        await engine.close()
    return counts


def _sum(counts: Sequence[tuple[int, int]]) -> dict[str, Any]:
    drafted, accepted = sum(d for d, _ in counts), sum(a for _, a in counts)
    return {"replies": len(counts), "drafted": drafted, "acceptance": round(accepted / max(1, drafted), 3)}


def write_draft_card(folder: Path, figures: dict[str, Any]) -> None:
    """Write README.md into the draft's folder."""
    from safetensors import safe_open
    from safetensors.numpy import load_file

    with safe_open(folder / "model.safetensors", "np") as weights:
        training = json.loads(weights.metadata()["training"])
    parameters = sum(weight.size for weight in load_file(str(folder / "model.safetensors")).values())
    layers = json.loads((folder / "config.json").read_text())["num_hidden_layers"]
    text = CARD.format(
        layers=layers,
        parameters=parameters / 1e6,
        tokens=TOKENS,
        wanted=WANTED,
        held_out=figures["held_out"]["acceptance"],
        held_n=figures["held_out"]["replies"],
        told=figures["told"]["acceptance"],
        told_n=figures["told"]["replies"],
        hand=figures["handwritten"]["acceptance"],
        hand_n=figures["handwritten"]["replies"],
        millions=training["tokens"] / 1e6,
        steps=training["step"],
    )
    (folder / "README.md").write_text(text)
