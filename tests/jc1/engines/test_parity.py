"""One Decoding, the same tokens everywhere: greedy, float32, by token ids, against the transformers engine."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest

from experiments.benchmarks.parity import Difference, differences
from jc1.decoding import Decoding
from jc1.engines.base import EnginePrompt
from jc1.engines.openai.engine import OpenAIEngine
from jc1.engines.settings import EngineSettings
from jc1.messages import Message
from jc1.models import resolve
from jc1_lab.dialogues.dialogue import Shape, Writer
from tests.jc1.engines.conftest import Fleet, ThreadedEngine

pytestmark = pytest.mark.engines


def conversations(count: int) -> list[list[Message]]:
    """Dialogues with memories up to a question, as recall makes them."""
    found = []
    for seed in range(count):
        rng = random.Random(f"parity-{seed}")
        dialogue = Writer(rng).write(Shape(facts=1 + seed % 8, turns=3, noise=0.5, history=seed % 3))
        found.append(dialogue.messages()[:-1])
    return found


TALKS = conversations(12)


@pytest.fixture
def vllm_serve(fleet: Fleet, tmp_path: Path) -> Iterator[str]:
    """vLLM's own server in a process of its own: its address."""
    fleet.end()
    folder = resolve("jc1-tiny").path
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "log"
    with log.open("w") as out:
        server = subprocess.Popen(
            [
                # What the command `vllm serve` runs; that itself looks for its version under another package name.
                *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)),
                *("--host", "127.0.0.1", "--port", str(port), "--served-model-name", "jc1-tiny"),
                *("--dtype", "float32", "--enforce-eager", "--kv-cache-memory-bytes", str(2**28)),
                *("--generation-config", "vllm"),
            ],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "VLLM_LOGGING_LEVEL": "WARNING"},
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 110
        while time.monotonic() < until:
            assert server.poll() is None, log.read_text()[-3000:]
            try:
                if httpx.get(f"{url}/health").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.2)
        else:
            pytest.fail("vllm serve is not up: " + log.read_text()[-3000:])
        yield f"{url}/v1"
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, 9)
            server.wait()


@pytest.fixture
def remote_tiny(vllm_serve: str) -> Iterator[ThreadedEngine]:
    """jc1-tiny behind `vllm serve`."""
    engine = ThreadedEngine(lambda: OpenAIEngine(EngineSettings(base_url=vllm_serve)))
    engine.begin()
    yield engine
    engine.end()


@pytest.mark.parametrize(
    "name", ["vllm_tiny", "vllm_parallel", "vllm_ngram", "vllm_draft", "deepspeed_tiny", "remote_tiny"]
)
async def test_every_engine_gives_the_tokens_that_transformers_gives(
    name: str, transformers_tiny: ThreadedEngine, request: pytest.FixtureRequest
) -> None:
    found = await differences(transformers_tiny, request.getfixturevalue(name), TALKS)
    assert [d for d in found if not d.near_tie] == []
    assert len(found) <= 1, "near-ties are rare"


def test_a_difference_is_a_near_tie_only_where_the_two_best_tokens_are_close() -> None:
    assert Difference(0, 3, 5, 6, 9e-5).near_tie
    assert not Difference(0, 3, 5, None, 2e-4).near_tie


async def test_beams_and_their_scores_agree_between_transformers_and_vllm(
    transformers_tiny: ThreadedEngine, vllm_tiny: ThreadedEngine
) -> None:
    for messages in TALKS[:4]:
        prompt = EnginePrompt(tuple(messages), tuple(transformers_tiny.tokenize(messages)))
        decoding = Decoding(beam_width=4, n=2, length_penalty=0.0, max_tokens=24)
        ours, theirs = [[step async for step in e.generate(prompt, decoding)] for e in (transformers_tiny, vllm_tiny)]
        assert ours[0].token_ids == theirs[0].token_ids
        assert [step.score for step in ours] == pytest.approx([step.score for step in theirs], abs=1e-3)


async def test_the_draft_made_for_the_model_guesses_most_of_what_it_says(vllm_draft: ThreadedEngine) -> None:
    drafted = accepted = 0
    for messages in TALKS:
        async with aclosing(vllm_draft.generate(EnginePrompt(tuple(messages)), Decoding(max_tokens=40))) as steps:
            *_, last = [step async for step in steps]
        told = last.speculation
        drafted, accepted = drafted + told["drafted"], accepted + told["accepted"]
        assert len(told["by_position"]) <= 3
        assert told["mean_accepted_length"] >= 1
    assert accepted / drafted >= 0.6


EACH = "{% for m in messages %}"
OPEN = "{% endfor %}<reply>"
ARCHITECTURES: dict[str, tuple[str, dict[str, Any], str]] = {
    "qwen": ("Qwen2Config", {}, EACH + "<s>{{ m.role }}\n{{ m.content }}<end>\n" + OPEN),
    "gemma": (
        "Gemma2Config",
        {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 64, "tie_word_embeddings": True},
        EACH + "<s>{{ 'model' if m.role == 'assistant' else 'user' }}: {{ m.content }}\n" + OPEN,
    ),
    "mistral": (
        "MistralConfig",
        {"head_dim": 32, "sliding_window": None},
        "<s>" + EACH + "[INST] {{ m.content }} [/INST]" + OPEN,
    ),
}
"""Configuration class, what it needs besides, and a chat template in the style of its family. A Llama is jc1-tiny."""


def write_architecture(folder: Path, name: str) -> Path:
    """A tiny model of that architecture with random weights."""
    import torch
    import transformers

    from tests.jc1.engines.conftest import SIZE, write_model, write_tokenizer

    _, end, _ = write_tokenizer(folder)
    kind, own, template = ARCHITECTURES[name]
    (folder / "chat_template.jinja").write_text(template)
    torch.manual_seed(3)
    config = getattr(transformers, kind)(
        **{
            "vocab_size": SIZE,
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 256,
            "initializer_range": 0.3,
            "eos_token_id": end,
            "bos_token_id": None,
            "pad_token_id": None,
            "tie_word_embeddings": False,
            **own,
        }
    )
    write_model(folder, transformers.AutoModelForCausalLM.from_config(config))
    return folder


@pytest.mark.parametrize("name", ARCHITECTURES)
async def test_each_architecture_gives_the_same_tokens_on_transformers_and_vllm(name: str, tmp_path: Path) -> None:
    from jc1.engines.transformers.engine import TransformersEngine
    from jc1.engines.vllm.engine import VllmEngine
    from tests.jc1.engines.conftest import SMALL

    folder = write_architecture(tmp_path, name)
    reference, other = (
        TransformersEngine(EngineSettings(model=str(folder))),
        VllmEngine(EngineSettings(model=str(folder), **SMALL)),
    )
    talks = [[Message.user("hello")], [Message.user("a b c"), Message.assistant("d"), Message.user("and then?")]]
    try:
        await reference.start()
        await other.start()
        found = await differences(reference, other, talks, max_tokens=24)
        assert [d for d in found if not d.near_tie] == []
        assert reference.tokenize(talks[1]) == other.tokenize(talks[1])
    finally:
        await reference.close()
        await other.close()
