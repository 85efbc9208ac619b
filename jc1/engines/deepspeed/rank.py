"""One rank of the DeepSpeed engine: holds its share of the weights (ZeRO-3) and generates in step with the others.

Started by DeepSpeed's launcher, once a rank. Rank 0 talks to the engine over a Unix socket: it gets one JSON object a
line, answers with objects that each follow their length in bytes, and hands each command on; all ranks then do the same
steps, since a layer's weights can be gathered only by all of them together. A cancellation is a flag that rank 0
broadcasts at each step. Knows ZeRO-3 and the protocol; what generating means is `jc1.engines.transformers.model`'s.
Knows nothing about requests waiting.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import socket
import struct
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jc1.decoding import Decoding
from jc1.engines.base import Step
from jc1.errors import EngineFailed, Jc1Error

LAST_SECONDS = 5.0
"""How long rank 0 outlives the engine at most."""
HEARTBEAT_SECONDS = 5.0
"""Idle ranks wait for rank 0's word no longer than this, so that one that has died is noticed."""

LENGTH = struct.Struct(">Q")
"""What goes before each message to the engine: the number of its bytes."""


def main() -> None:
    """Run this rank as its launcher's arguments say; tell the engine what kept it from starting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--dtype", required=True)
    parser.add_argument("--socket", required=True)
    parser.add_argument("--cpu-offload", action="store_true")
    arguments = parser.parse_args()
    rank = int(os.environ["RANK"])
    wire = Wire(arguments.socket) if rank == 0 else None
    try:
        run(arguments, rank, wire)
    except Jc1Error as error:
        if wire:
            wire.send({"failed": error.message})
        sys.exit(1)


class Wire:
    """Rank 0's end of the socket: a thread reads, so that a cancellation arrives while a reply is written."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._lines = self._socket.makefile("rb")
        self.commands: queue.Queue[dict[str, Any]] = queue.Queue()
        self.cancelled: set[int] = set()
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, message: dict[str, Any]) -> None:
        body = json.dumps(message).encode()
        self._socket.sendall(LENGTH.pack(len(body)) + body)

    def _read(self) -> None:
        for line in self._lines:
            message = json.loads(line)
            if "cancel" in message:
                self.cancelled.add(message["cancel"])
            else:
                self.commands.put(message)
        # The engine is gone, with or without a word: so is the reason to be here. Should a rank be stuck, the launcher
        # ends all of them when this one exits.
        self.cancelled.add(-1)
        self.commands.put({"close": True})
        time.sleep(LAST_SECONDS)
        os._exit(1)


def run(arguments: argparse.Namespace, rank: int, wire: Wire | None) -> None:
    """Load this rank's share, then carry out rank 0's commands until one of them closes. Only rank 0 has a `wire`."""
    import torch
    import torch.distributed as dist

    from jc1.compat.torchvision import define_operators

    define_operators()
    from jc1.engines.deepspeed.model import ShardedModel, parameters_here
    from jc1.engines.transformers.model import OUT_OF_MEMORY, Job
    from jc1.tokenizer.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(arguments.model)
    model = ShardedModel(arguments.model, dtype=arguments.dtype, tokenizer=tokenizer, cpu_offload=arguments.cpu_offload)
    shards: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(shards, parameters_here(model))
    if wire:
        wire.send({"ready": {"context_length": model.context_length, "vocab": model.vocab, "shards": shards}})

    def agreed(command: dict[str, Any] | None) -> dict[str, Any]:
        """Return rank 0's command, on every rank."""
        box = [command]
        dist.broadcast_object_list(box, src=0)
        return box[0] or {}

    while True:
        # 1) All ranks take the same command.
        command = agreed(_next(wire) if wire else None)
        if command.get("close"):
            break
        if "generate" not in command:
            continue
        number, decoding = command["generate"], Decoding.model_validate(command["decoding"])

        def cancelled(number: int = number) -> bool:
            # Rank 0 alone hears of it, and a rank that stopped by itself would leave the others waiting.
            cancelled_here = wire is not None and bool(wire.cancelled & {number, -1})
            flag = torch.tensor([cancelled_here], dtype=torch.uint8, device=model.device)
            dist.broadcast(flag, src=0)
            return bool(flag.item())

        def emit(steps: list[Step], number: int = number) -> None:
            if wire:
                wire.send({"number": number, "steps": [asdict(step) for step in steps]})

        # 2) All do the same steps; rank 0 alone tells of them.
        job = Job(
            command["prompt"], decoding, command["limit"], emit=emit, cancelled=cancelled, before=command["before"]
        )
        try:
            if decoding.beam_width > 1:
                model.search(job)
            else:
                model.generate([job])
        except EngineFailed as error:
            if error.message == OUT_OF_MEMORY and dist.get_world_size() > 1:
                os._exit(1)  # the other ranks wait for this one in the middle of a layer; the launcher ends them
            job.error = error  # all ranks have the same logits, so all of them are here
        # 3) The engine hears that the command is done, or why not.
        if wire:
            wire.send({"number": number, **({"error": job.error.message} if job.error else {"done": True})})
            wire.cancelled.discard(number)
    dist.destroy_process_group()


def _next(wire: Wire) -> dict[str, Any]:
    try:
        return wire.commands.get(timeout=HEARTBEAT_SECONDS)
    except queue.Empty:
        return {}


if __name__ == "__main__":
    main()
