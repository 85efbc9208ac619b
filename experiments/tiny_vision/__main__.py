"""`python -m experiments.tiny_vision`: training, export and measurement of jc1-tiny-vision, in this order, resumable.

`train` (the default) does all of it; `export` writes the folder from the latest checkpoint; `evaluate` measures a
folder again. The bundled folder is written only by `export` or `train` with `--folder`.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from experiments.tiny.__main__ import ALLOCATOR

OUT = Path("build/tiny-vision")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments.tiny_vision", description=__doc__)
    parser.add_argument("command", nargs="?", choices=("train", "export", "evaluate"), default="train")
    parser.add_argument("--pictures", type=float, default=90_000, help="pictures to talk about: the training's length")
    parser.add_argument("--minutes", type=float, default=1e9, help="time after which it ends at the latest")
    parser.add_argument("--out", type=Path, default=OUT, help="where checkpoints are kept")
    parser.add_argument("--folder", type=Path, help="the exported model; beside the checkpoints if not given")
    parser.add_argument("--threads", type=int, default=0, help="threads of torch, 0 for its own choice")
    parser.add_argument("--quick", action="store_true", help="measure a few hundred answers only, and write no card")
    arguments = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in ALLOCATOR.items()):
        os.execve(
            sys.executable,
            [sys.executable, "-m", "experiments.tiny_vision", *sys.argv[1:]],
            {**os.environ, **ALLOCATOR},
        )

    import torch

    from experiments.tiny.model import read
    from experiments.tiny.tokenizer import Encoder
    from experiments.tiny_vision.evaluate import evaluate
    from experiments.tiny_vision.export import save
    from experiments.tiny_vision.train import Plan, load, started, train
    from jc1.models import BUNDLED

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    folder = arguments.folder or arguments.out / "model"
    if arguments.command == "evaluate":
        evaluate(folder, quick=arguments.quick)
        return
    tiny = BUNDLED / "jc1-tiny"
    language = read(tiny)
    if arguments.command == "train":
        plan = replace(Plan(), minutes=arguments.minutes, pictures=arguments.pictures)
        encoder = Encoder(tiny / "tokenizer.model")
        model, state = train(
            arguments.out,
            encoder,
            plan,
            language,
            say=lambda text: print(text, flush=True),
            ahead=True,
        )
        if state.progress(plan) < 1.0:
            print(f"stopped after step {state.step}; the same command goes on from there", flush=True)
            return
    else:
        model = started(language)
        checkpoint = load(arguments.out, model)
        if checkpoint is None:
            raise SystemExit(f"no checkpoint in {arguments.out}: run `python -m experiments.tiny_vision` first")
        state = checkpoint
    save(model, folder, tiny, {"looked_at": state.looked_at, "talked_about": state.talked_about})
    print(f"exported to {folder}", flush=True)
    if arguments.command == "train":
        evaluate(folder, quick=arguments.quick)


if __name__ == "__main__":
    main()
