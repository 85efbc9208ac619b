"""`python -m experiments.tiny`: tokenizer, training, export and measurement of jc1-tiny, in this order, resumable.

`train` (the default) does all of it; `export` writes the folder from the latest checkpoint; `evaluate` measures a
folder again. `distill` trains, exports and measures jc1-tiny-draft, which guesses what the shipped jc1-tiny will say.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.tiny.model import Llama
    from experiments.tiny.tokenizer import Encoder

BUILD = Path("build/tiny")
SHIPPED = Path(__file__).parents[2] / "jc1" / "bundled" / "jc1-tiny"
DRAFT_BUILD, DRAFT = Path("build/tiny-draft"), SHIPPED.with_name("jc1-tiny-draft")
DRAFT_LAYERS = 2
"""The fewest with which a model can copy what followed a word earlier on."""
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "1073741824",
}
"""glibc keeps freed memory instead of returning it at each step: two to three times faster. Read as it starts."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments.tiny", description=__doc__)
    parser.add_argument("command", nargs="?", choices=("train", "export", "evaluate", "distill"), default="train")
    parser.add_argument(
        "--minutes", type=float, default=110.0, help="wall-clock time of the training, kept across interruptions"
    )
    parser.add_argument("--tokens", type=float, default=40e6, help="tokens after which the training ends at the latest")
    parser.add_argument("--build", type=Path, default=BUILD, help="where checkpoints and the tokenizer are kept")
    parser.add_argument("--folder", type=Path, default=SHIPPED, help="the exported model")
    parser.add_argument(
        "--quick", action="store_true", help="measure a few hundred replies only, and do not write the card"
    )
    arguments = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in ALLOCATOR.items()):
        os.execve(
            sys.executable, [sys.executable, "-m", "experiments.tiny", *sys.argv[1:]], {**os.environ, **ALLOCATOR}
        )

    if arguments.command == "evaluate":
        _evaluate(arguments.folder, arguments.quick)
        return
    if arguments.command == "distill":
        _distill(arguments.minutes, arguments.tokens)
        return

    from experiments.tiny import tokenizer
    from experiments.tiny.model import Llama, Size
    from experiments.tiny.tokenizer import Encoder
    from experiments.tiny.train import Plan, load, train

    pieces = arguments.build / "tokenizer"
    if not (pieces / "tokenizer.model").exists():
        print("learning the tokenizer", flush=True)
        tokenizer.train(pieces)
    encoder = Encoder(pieces / "tokenizer.model")
    if arguments.command == "train":
        plan = replace(Plan(), minutes=arguments.minutes, tokens=arguments.tokens)
        model, state = train(arguments.build, encoder, plan, say=lambda text: print(text, flush=True), fuse=True)
        if state.progress(plan) < 1.0:
            print(f"stopped after step {state.step}; the same command goes on from there", flush=True)
            return
    else:
        model = Llama(Size())
        checkpoint = load(arguments.build, model)
        if checkpoint is None:
            raise SystemExit(f"no checkpoint in {arguments.build}: run `python -m experiments.tiny` first")
        state = checkpoint
    _export(model, encoder, {"step": state.step, "tokens": state.tokens}, pieces, arguments.folder)
    if arguments.command == "train":
        _evaluate(arguments.folder, arguments.quick)


def _distill(minutes: float, tokens: float) -> None:
    from experiments.tiny.acceptance import acceptance, write_draft_card
    from experiments.tiny.model import Size, read
    from experiments.tiny.tokenizer import Encoder
    from experiments.tiny.train import Plan, train

    encoder, teacher = Encoder(SHIPPED / "tokenizer.model"), read(SHIPPED)
    plan, size = replace(Plan(), minutes=minutes, tokens=tokens), replace(Size(), layers=DRAFT_LAYERS)
    model, state = train(
        DRAFT_BUILD, encoder, plan, size, say=lambda text: print(text, flush=True), fuse=True, teacher=teacher
    )
    if state.progress(plan) < 1.0:
        print(f"stopped after step {state.step}; the same command goes on from there", flush=True)
        return
    _export(model, encoder, {"step": state.step, "tokens": state.tokens}, SHIPPED, DRAFT)
    figures = acceptance(SHIPPED, DRAFT)
    (DRAFT / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    write_draft_card(DRAFT, figures)


def _export(model: Llama, encoder: Encoder, training: dict[str, float], pieces: Path, folder: Path) -> None:
    import shutil

    from experiments.tiny.model import save

    save(model, folder, bos=encoder.bos, eos=(encoder.end, 2), pad=2, training=training)
    for name in ("tokenizer.model", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(pieces / name, folder / name)
    print(f"exported to {folder}", flush=True)


def _evaluate(folder: Path, quick: bool) -> None:
    from experiments.tiny.evaluate import evaluate

    evaluate(folder, quick=quick)


if __name__ == "__main__":
    main()
