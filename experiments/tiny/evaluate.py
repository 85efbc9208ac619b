"""Measures an exported folder as it ships: greedy decoding through transformers' LlamaForCausalLM with its KV cache.

Knows the sets, the scores, the card and the figures beside it. Knows nothing about training.

    generated   dialogues of the grammar from seeds that training never used; every reply must be exactly right
    held out    the same with names, words and syllables that training never saw
    handwritten questions and dialogues written by hand; the expected value must be in the reply, an outdated or wrong
                one must not; "not told" and "cannot" must be the fixed sentence
    distant     an answer at about 1,500 tokens of prompt
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from experiments.tiny.card import write_card
from experiments.tiny.tokenizer import Encoder
from jc1.memory.base import Record
from jc1.messages import Message
from jc1.prompt import DEFAULT_SYSTEM, with_memories
from jc1_lab.dialogues.dialogue import Shape, Writer, shape
from jc1_lab.dialogues.grammar import CANNOT, NOT_TOLD

HANDWRITTEN = Path(__file__).with_name("handwritten.jsonl")
FIGURES = "figures.json"


@dataclass(frozen=True, slots=True)
class Case:
    """A prompt and the reply that is right. `kind` is told, noted, not_told or chat."""

    prompt: tuple[int, ...]
    reply: str
    kind: str


def evaluate(folder: Path, *, quick: bool = False) -> dict[str, Any]:
    """Measure the model in `folder` and print the figures; unless `quick`, write them into folder and card."""
    encoder = Encoder(folder / "tokenizer.model")
    model = Greedy(folder, encoder)
    dialogues = 60 if quick else 400
    figures: dict[str, Any] = {"generated": _exact(model, cases(encoder, dialogues, held_out=False))}
    figures["held_out"] = _exact(model, cases(encoder, dialogues, held_out=True))
    figures["not_told"] = _not_told(figures)
    if not quick:
        figures["distant"] = _exact(model, cases(encoder, 12, held_out=False, tokens=1500))
    figures["handwritten"] = handwritten(model, encoder)
    for name in ("generated", "held_out"):
        figures[name].pop("replies")
    if "distant" in figures:
        figures["distant"].pop("replies")
    print(json.dumps(figures, indent=2))
    if not quick:
        (folder / FIGURES).write_text(json.dumps(figures, indent=2) + "\n")
        write_card(folder, figures)
    return figures


def cases(encoder: Encoder, dialogues: int, *, held_out: bool, tokens: int = 0, seed: int = 5) -> list[Case]:
    """Return each reply of unseen dialogues as a case; with `tokens`, only those after about so long a prompt."""
    rng = random.Random(f"evaluate-{seed}-{held_out}-{tokens}")
    writer = Writer(rng, held_out=held_out)
    result: list[Case] = []
    for _ in range(dialogues):
        if tokens:
            turns = writer.write(Shape(facts=10, turns=24, noise=1.0, history=24)).turns
        else:
            turns = writer.write(shape(rng, rng.random())).turns
        for i, turn in enumerate(turns):
            if not turn.kind:
                continue
            prompt = encoder.prompt([Message(t.role, t.text) for t in turns[:i]])
            if not tokens or tokens - 150 <= len(prompt) <= tokens + 150:
                result.append(Case(tuple(prompt), turn.text, turn.kind))
    return result


def _exact(model: Greedy, cases: Sequence[Case]) -> dict[str, Any]:
    replies = model.replies([c.prompt for c in cases])
    right: dict[str, list[bool]] = {}
    for case, reply in zip(cases, replies, strict=True):
        right.setdefault(case.kind, []).append(reply == case.reply)
    total = [r for kind in right.values() for r in kind]
    shares = {kind: _share(r) for kind, r in sorted(right.items())}
    pairs = [(c.kind, r == NOT_TOLD) for c, r in zip(cases, replies, strict=True)]
    return {"exact": _share(total), "replies_measured": len(total), **shares, "replies": pairs}


def _share(right: Sequence[bool]) -> float:
    return round(sum(right) / max(1, len(right)), 3)


def _not_told(figures: dict[str, Any]) -> dict[str, float]:
    """Return precision and recall of the reply 'not told', over the questions of both generated sets."""
    pairs = [p for name in ("generated", "held_out") for p in figures[name]["replies"]]
    questions = [(kind == "not_told", refused) for kind, refused in pairs if kind in ("told", "not_told")]
    both = sum(due and refused for due, refused in questions)
    refused, due = sum(s for _, s in questions), sum(d for d, _ in questions)
    return {"precision": round(both / max(1, refused), 3), "recall": round(both / max(1, due), 3)}


def handwritten_prompt(item: dict[str, Any]) -> list[Message]:
    """Return the messages of one handwritten item, as JC1 would send them."""
    system = item.get("system", DEFAULT_SYSTEM)
    head = [Message.system(system)] if system else []
    history = [Message(role, text) for role, text in item.get("history", [])]
    start = datetime(2026, 5, 4, 9, tzinfo=UTC)
    records = [
        Record(str(i), "o", m["text"], m["role"], "statement", start + timedelta(hours=7 * i), turn=i)
        for i, m in enumerate(item.get("memories", []))
    ]
    return [*head, *history, with_memories(Message.user(item["question"]), records)]


def is_right(item: dict[str, Any], reply: str) -> bool:
    """Tell whether the reply is the fixed sentence wanted, or holds every expected value and none to avoid."""
    expected = item["expect"]
    if expected in ("not_told", "cannot"):
        return reply == (NOT_TOLD if expected == "not_told" else CANNOT)
    matches = [re.search(rf"(?<!\w){re.escape(e)}(?!\w)", reply) for e in expected]
    return all(matches) and not any(a in reply for a in item.get("avoid", []))


def handwritten(model: Greedy, encoder: Encoder) -> dict[str, Any]:
    items = [json.loads(line) for line in HANDWRITTEN.read_text(encoding="utf-8").splitlines()]
    replies = model.replies([tuple(encoder.prompt(handwritten_prompt(item))) for item in items])
    right = [is_right(item, reply) for item, reply in zip(items, replies, strict=True)]
    unanswerable = [r for item, r in zip(items, right, strict=True) if item["expect"] == "not_told"]
    return {"right": _share(right), "items": len(items), "not_told": _share(unanswerable)}


class Greedy:
    """The exported model; replies to many prompts, those of like length together."""

    def __init__(self, folder: Path, encoder: Encoder) -> None:
        import transformers

        transformers.logging.set_verbosity_error()
        self.encoder = encoder
        self.model = transformers.LlamaForCausalLM.from_pretrained(str(folder), local_files_only=True).eval()

    def replies(self, prompts: Sequence[Sequence[int]], batch: int = 16, new_tokens: int = 64) -> list[str]:
        """Return the reply to each prompt of token ids, in the order of the prompts."""
        import torch

        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        replies = [""] * len(prompts)
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            longest = max(len(prompts[i]) for i in chosen)
            ids = torch.full((len(chosen), longest), self.encoder.end)
            mask = torch.zeros_like(ids)
            for row, i in enumerate(chosen):  # padded on the left, so that all replies start at one place
                ids[row, longest - len(prompts[i]) :] = torch.tensor(prompts[i])
                mask[row, longest - len(prompts[i]) :] = 1
            with torch.no_grad():
                out = self.model.generate(
                    input_ids=ids, attention_mask=mask, max_new_tokens=new_tokens, do_sample=False
                )  # (prompts, longest + new tokens)
            for row, i in enumerate(chosen):
                reply = out[row, longest:].tolist()
                stop = reply.index(self.encoder.end) if self.encoder.end in reply else len(reply)
                replies[i] = self.encoder.pieces.decode(reply[:stop])
        return replies
