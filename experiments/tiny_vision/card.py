"""Writes the model card, jc1-tiny-vision's README.md, from the measured figures.

Knows the wording of the card and what was wanted. Measures nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WANTED = {
    "shape": 0.95,
    "colour": 0.95,
    "size": 0.95,
    "position": 0.95,
    "count": 0.90,
    "relation": 0.90,
    "reading": 0.95,
    "existence": 0.95,
    "cannot_tell": 0.95,
}
"""What each skill was meant to reach on drawings before the training began; `describe` only had to be measured."""
WANTED_ELSEWHERE, WANTED_CANNOT_TELL = 0.85, 0.90
COLUMNS = ("drawings", "new_wordings", "other_library", "hand_made")

CARD = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: image-text-to-text
---

# jc1-tiny-vision

A vision-language model of {parameters:.1f} million parameters (LLaVA architecture: a SigLIP tower of {layers}
layers and width {width}, patches of {patch} pixels, pictures of {side} by {side}; jc1-tiny's language half;
{megabytes:.1f} MB). The tower is trained from scratch, on drawings and questions that a program makes. It lets JC1's
vision work without a network. It is **no substitute for a model**: it knows a few shapes and colours, and nothing of
the world.

## What it can do
- Name shapes (circle, square, triangle, star, cross, ring) and colours (red, orange, yellow, green, blue, purple,
  black, white), say whether a thing is big or small, where it is, and on which side of another.
- Count up to six. Say whether something is there. Describe up to three things.
- Read a number of one or two digits, or a word of two to four letters that it learnt.
- Say "I can't tell." when the picture does not show it.

## What it cannot do
- Photographs: it sees shapes or nothing in them. Fine things: every picture is scaled to {side} by {side}.
- Several pictures at once, long questions, other languages than English, words that it did not learn (see the figures).
- What jc1-tiny can, such as remembering: the language half has learnt to speak about pictures only.

## Figures
Greedy decoding with transformers from this folder, share of answers that are exactly right with Wilson's 95 % interval;
`python -m experiments.tiny_vision evaluate` measures them again.

{table}

{verdict}

- *drawings*: {each} for each skill, from seeds that training never used, with clutter, noise, rotation and textures.
- *new wordings*: the same, in wordings that training never used.
- *other library*: the same scenes drawn by matplotlib, with its colours, fonts and outlines.
- *hand-made*: pictures composed and questions written by hand (`experiments/tiny_vision/handmade.jsonl`).
- Reading of words that training never showed: {new_words}.

## Data and training
`experiments/tiny_vision` draws with Pillow. First the tower alone learns what each patch of a drawing shows, then the
whole model learns to answer, eight questions a picture, the loss on the answers only. Prompts are rendered as
`jc1/prompt.py` renders them, without memories. Matrices are trained with Muon, the rest with AdamW, in fp32.
The tower looked at {looked_at:,} drawings, and {talked_about:,} were talked about.

    python -m experiments.tiny_vision

## Format
`<image>` stands for {patches} tokens, before the words of its message. Weights are stored as float16 and computed in
float32. Written for JC1, Apache-2.0.
"""


def write_card(folder: Path, figures: dict[str, Any]) -> None:
    """Write README.md into the model folder."""
    config = json.loads((folder / "config.json").read_text())
    weights = folder / "model.safetensors"
    with weights.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    metadata = header.pop("__metadata__")
    training = json.loads(metadata["training"])
    tower = config["vision_config"]
    drawn = figures["drawings"]
    text = CARD.format(
        parameters=sum(_product(t["shape"]) for t in header.values()) / 1e6,
        layers=tower["num_hidden_layers"],
        width=tower["hidden_size"],
        patch=tower["patch_size"],
        side=tower["image_size"],
        patches=config["image_seq_length"],
        megabytes=sum(f.stat().st_size for f in folder.iterdir() if f.name != "README.md") / 1e6,
        table=table(figures),
        verdict=verdict(figures),
        each=f"{drawn['colour']['cases']} questions",
        new_words=_cell(figures["new_words"]["reading"]),
        looked_at=training["looked_at"],
        talked_about=training["talked_about"],
    )
    (folder / "README.md").write_text(text)


def table(figures: dict[str, Any]) -> str:
    """Return the figures as a table of Markdown: a row for each skill, a column for each set."""
    lines = ["| | wanted | " + " | ".join(c.replace("_", " ") for c in COLUMNS) + " |", "|---" * 6 + "|"]
    lines = [lines[0].replace("hand made", "hand-made"), lines[1]]
    rows = [*WANTED, "describe", "cannot_tell_precision", "cannot_tell_recall", "all"]
    for row in rows:
        wanted = WANTED_CANNOT_TELL if row.startswith("cannot_tell_") else WANTED.get(row)
        cells = [_cell(figures[c].get(row)) for c in COLUMNS]
        name = row.replace("_", " ").replace("cannot tell", '"can\'t tell"')
        lines.append(f"| {name} | {wanted or ''} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def missed(figures: dict[str, Any]) -> list[str]:
    """Return what was wanted and not reached."""
    drawn = figures["drawings"]
    below = [skill for skill, wanted in WANTED.items() if drawn[skill]["share"] < wanted]
    for which in ("precision", "recall"):
        if drawn[f"cannot_tell_{which}"]["share"] < WANTED_CANNOT_TELL:
            below.append(f'{which} of "can\'t tell"')
    for name in ("other_library", "hand_made"):
        if figures[name]["all"]["share"] < WANTED_ELSEWHERE:
            below.append(f"{name.replace('_', ' ')} (all skills {WANTED_ELSEWHERE})")
    return below


def verdict(figures: dict[str, Any]) -> str:
    below = missed(figures)
    return f"Not reached: {', '.join(below)}.".replace("_", " ") if below else "All that was wanted is reached."


def _cell(measured: dict[str, float] | None) -> str:
    return f"{measured['share']:.3f} ({measured['low']:.2f}-{measured['high']:.2f})" if measured else ""


def _product(shape: list[int]) -> int:
    result = 1
    for n in shape:
        result *= n
    return result
