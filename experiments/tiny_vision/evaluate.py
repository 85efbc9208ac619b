"""Measures an exported folder as it ships: greedy decoding through transformers' LLaVA and the folder's own processor.

Knows the sets, the scores, the card and the figures beside it. Knows nothing about training.

    drawings        scenes and drawings that training never used, in its wordings; the answer must be exactly right
    new wordings    the same, asked in wordings that training never used
    other library   scenes drawn by matplotlib
    hand-made       pictures composed and questions written by hand, drawn by matplotlib
    new words       reading of words that training never showed
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from experiments.tiny_vision import other
from experiments.tiny_vision.card import write_card
from experiments.tiny_vision.draw import draw, style
from experiments.tiny_vision.questions import CANNOT_TELL, SKILLS, of_skill
from experiments.tiny_vision.scene import UNSEEN_WORDS, WORDS, Scene, Thing, Writing, scene
from jc1.prompt import DEFAULT_SYSTEM
from jc1_lab.statistics import interval

HANDMADE = Path(__file__).with_name("handmade.jsonl")
FIGURES = "figures.json"
KINDS = {"reading": "writing", "count": "count", "relation": "things"}
"""The kind of scene that a skill is asked of; the others are asked of all kinds."""


@dataclass(frozen=True, slots=True)
class Case:
    """A picture, a question about it, and the answers that are right."""

    picture: Image.Image
    skill: str
    question: str
    answers: tuple[str, ...]


def evaluate(folder: Path, *, quick: bool = False) -> dict[str, Any]:
    """Measure the model in `folder` and print the figures; unless `quick`, write them into folder and card."""
    model = Greedy(folder)
    many = 30 if quick else 300
    sets = {
        "drawings": drawings(many),
        "new_wordings": drawings(many // 3, held_out=True),
        "other_library": drawings(many // 3, elsewhere=True),
        "hand_made": handmade(),
        "new_words": drawings(many // 3, skills=("reading",), words=UNSEEN_WORDS),
    }
    figures: dict[str, Any] = {}
    for name, cases in sets.items():
        replies = model.replies(cases)
        figures[name] = scores(cases, replies)
        print(name, json.dumps(figures[name]), flush=True)
    if not quick:
        (folder / FIGURES).write_text(json.dumps(figures, indent=2) + "\n")
        write_card(folder, figures)
    return figures


def drawings(
    many: int,
    *,
    skills: Sequence[str] = SKILLS,
    words: Sequence[str] = WORDS,
    held_out: bool = False,
    elsewhere: bool = False,
    seed: int = 5,
) -> list[Case]:
    """Return `many` cases of each skill. `held_out` takes other wordings, `elsewhere` the other drawing library."""
    cases = []
    for skill in skills:
        rng = random.Random(f"evaluate-{seed}-{skill}-{held_out}-{elsewhere}-{words[0]}")
        left = many
        while left:
            shown = scene(rng, words, KINDS.get(skill) if rng.random() < 0.8 else None)
            question = of_skill(skill, shown, rng, held_out=held_out)
            if question is None:
                continue
            if elsewhere:
                picture = other.picture(shown, other.look(shown, rng))
            else:
                picture = Image.fromarray(draw(shown, rng, style(rng, 1.0)).pixels)
            cases.append(Case(picture, skill, question.text, (question.answer,)))
            left -= 1
    return cases


def handmade() -> list[Case]:
    """Return the pictures composed by hand with their questions."""
    cases = []
    for line in HANDMADE.read_text(encoding="utf-8").splitlines():
        item = json.loads(line)
        things = tuple(Thing(s, c, bool(b), x, y, r, a) for s, c, b, x, y, r, a in item["things"])
        writing = Writing(item["text"], 0.5, 0.5, 0.24, 0.0) if "text" in item else None
        how = other.Look(item["paper"], 400, tuple(t.colour for t in things), "DejaVu Sans", False)
        picture = other.picture(Scene(things, writing), how)
        cases += [Case(picture, skill, question, tuple(answers)) for skill, question, answers in item["ask"]]
    return cases


def scores(cases: Sequence[Case], replies: Sequence[str]) -> dict[str, Any]:
    """Return the share of right replies by skill with Wilson's 95 % interval, and how well "I can't tell" is used."""
    right: dict[str, list[float]] = {}
    for case, reply in zip(cases, replies, strict=True):
        right.setdefault(case.skill, []).append(float(reply in case.answers))
    result: dict[str, Any] = {skill: _share(values) for skill, values in right.items()}
    result["all"] = _share([value for values in right.values() for value in values])
    refused = [float(CANNOT_TELL in c.answers) for c, reply in zip(cases, replies, strict=True) if reply == CANNOT_TELL]
    due = [float(reply == CANNOT_TELL) for c, reply in zip(cases, replies, strict=True) if CANNOT_TELL in c.answers]
    if due:
        result["cannot_tell_precision"] = _share(refused) if refused else _share([0.0])
        result["cannot_tell_recall"] = _share(due)
    return result


def _share(values: Sequence[float]) -> dict[str, float]:
    if len(values) == 1:
        return {"share": values[0], "low": 0.0, "high": 1.0, "cases": 1}
    measured = interval(np.asarray(values))
    return {
        "share": round(float(np.mean(values)), 3),
        "low": round(measured.low, 3),
        "high": round(measured.high, 3),
        "cases": len(values),
    }


class Greedy:
    """The exported model; answers many questions, some at a time."""

    def __init__(self, folder: Path) -> None:
        from jc1.compat.torchvision import define_operators

        define_operators()
        import transformers

        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        self.processor = transformers.AutoProcessor.from_pretrained(str(folder), local_files_only=True)
        self.model = transformers.LlavaForConditionalGeneration.from_pretrained(
            str(folder), local_files_only=True
        ).eval()

    def prompt(self, question: str) -> str:
        """Return the prompt of a question about one picture, as JC1 renders it without memories."""
        content = [{"type": "image"}, {"type": "text", "text": question}]
        messages = [{"role": "system", "content": DEFAULT_SYSTEM}, {"role": "user", "content": content}]
        rendered: str = self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        return rendered

    def replies(self, cases: Sequence[Case], batch: int = 32, new_tokens: int = 40) -> list[str]:
        """Return the reply to each case, in their order; questions of like length are answered together."""
        import torch

        order = sorted(range(len(cases)), key=lambda i: len(cases[i].question))
        replies = [""] * len(cases)
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            inputs = self.processor(
                text=[self.prompt(cases[i].question) for i in chosen],
                images=[cases[i].picture for i in chosen],
                return_tensors="pt",
                padding=True,
                padding_side="left",  # so that all replies start at one place
                add_special_tokens=False,
            )
            with torch.no_grad():
                out = self.model.generate(**inputs, max_new_tokens=new_tokens, do_sample=False)
            texts = self.processor.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            for i, text in zip(chosen, texts, strict=True):
                replies[i] = text
        return replies
