"""Writes the model card, jc1-tiny's README.md, from the measured figures.

Knows the wording of the card. Measures nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WANTED = {"generated": 0.95, "held_out": 0.90, "handwritten": 0.75, "not_told": 0.90}
"""What each figure was meant to reach before the training began."""

CARD = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
---

# jc1-tiny

A language model of {parameters:.1f} million parameters (Llama architecture, {layers} layers, width {width}, vocabulary
{vocabulary}, fp32, {megabytes:.1f} MB), trained from scratch on text that a program wrote. It makes JC1's chat and
memory work without a network. It is **no substitute for a model**: it knows nothing but what its context tells it.

## What it can do
- Take in a fact and confirm it: "My cat is called Ada." - "Noted: your cat is called Ada."
- Answer from recalled memories or from the conversation: "What is my cat called?" - "Your cat is called Ada."
- Prefer the newer of two facts that contradict each other.
- Say "You have not told me that." when nothing answers.
- Greet, thank, say goodbye, say what it is.

## What it cannot do
- Anything else. Asked to write, translate or compute, it says that it cannot.
- Other languages than English, long messages, more than two questions at once, conclusions from two facts.
- It can be wrong: see the figures. Values of more than two or three words and unusual spellings are copied less surely.

## Figures
Greedy decoding with transformers from this folder; `python -m experiments.tiny evaluate` measures them again.

| set | what is counted | measured | wanted |
|---|---|---|---|
| generated, unseen dialogues ({generated_n} replies) | reply exactly right | {generated:.3f} | 0.95 |
| - questions that memory answers | | {generated_told:.3f} | |
| - questions that nothing answers | | {generated_not_told:.3f} | |
| - statements confirmed | | {generated_noted:.3f} | |
| - small talk | | {generated_chat:.3f} | |
| generated, names and values never seen ({held_n} replies) | reply exactly right | {held_out:.3f} | 0.90 |
| - questions that memory answers | | {held_told:.3f} | |
| "not told", both sets | precision | {precision:.3f} | 0.90 |
| | recall | {recall:.3f} | 0.90 |
| handwritten ({hand_n} dialogues) | expected value in the reply, no outdated one | {handwritten:.3f} | 0.75 |
| prompts of about 1,500 tokens ({distant_n} replies) | reply exactly right | {distant:.3f} | |

{verdict}

The handwritten set (`experiments/tiny/handwritten.jsonl`) holds nothing that the program can write, as a test
checks. Two thirds of it were written before the training, the rest later and without sight of the program. The
program's wordings were widened twice after a measurement, the second and larger time without sight of the set. A reply
counts when it holds the expected value and none that is outdated or somebody else's; where nothing answers, or where
the model cannot do what is asked, it must be the fixed sentence, letter by letter.

## Data and training
`jc1_lab.dialogues` writes the dialogues: thirty-eight kinds of facts about the user and other people in many wordings,
half of the values made-up words, numbers and codes; near misses, changes, earlier questions and replies as distractors;
up to fourteen remembered records, rendered by `jc1/prompt.py` as in serving. The loss is on the replies only. Matrices
are trained with Muon, the rest with AdamW, in fp32, from few to many distractors. {training}

    python -m experiments.tiny

## Format
Messages are `<|system|>`, `<|user|>` or `<|assistant|>`, the text, `<|end|>`; `<s>` comes first. `tokenizer.model`
(SentencePiece, BPE with bytes for what is unknown) and `tokenizer.json` give the same tokens. Prompts were at most 900
tokens in training, with gaps in the positions up to 2,048. Written for JC1, Apache-2.0.
"""


def write_card(folder: Path, figures: dict[str, Any]) -> None:
    """Write README.md into the model folder."""
    config = json.loads((folder / "config.json").read_text())
    weights = folder / "model.safetensors"
    with weights.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    training = json.loads(header["__metadata__"].get("training", "{}"))
    count = sum(_product(t["shape"]) for name, t in header.items() if name != "__metadata__")
    generated, held_out = figures["generated"], figures["held_out"]
    reached = {
        "generated": generated["exact"],
        "held_out": held_out["exact"],
        "handwritten": figures["handwritten"]["right"],
        "not_told": min(figures["not_told"].values()),
    }
    missed = [name.replace("_", " ") for name, wanted in WANTED.items() if reached[name] < wanted]
    verdict = "Not reached: " + ", ".join(missed) + "." if missed else "All that was wanted is reached."
    text = CARD.format(
        parameters=count / 1e6,
        layers=config["num_hidden_layers"],
        width=config["hidden_size"],
        vocabulary=config["vocab_size"],
        megabytes=weights.stat().st_size / 1e6,
        generated_n=generated["replies_measured"],
        held_n=held_out["replies_measured"],
        generated=generated["exact"],
        generated_told=generated["told"],
        generated_not_told=generated["not_told"],
        generated_noted=generated["noted"],
        generated_chat=generated["chat"],
        held_out=held_out["exact"],
        held_told=held_out["told"],
        precision=figures["not_told"]["precision"],
        recall=figures["not_told"]["recall"],
        handwritten=figures["handwritten"]["right"],
        hand_n=figures["handwritten"]["items"],
        distant=figures["distant"]["exact"],
        distant_n=figures["distant"]["replies_measured"],
        verdict=verdict,
        training=f"The shipped weights saw {training['tokens'] / 1e6:.0f} million tokens in {training['step']:,} steps."
        if training
        else "",
    )
    (folder / "README.md").write_text(text)


def _product(shape: list[int]) -> int:
    result = 1
    for n in shape:
        result *= n
    return result
