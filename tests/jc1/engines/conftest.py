"""The engines that must behave alike, each made so that its greedy reply to anything is known.

An engine joins the conformance suite by a line in `ENGINES`.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jc1.engines.base import Engine, EnginePrompt, EngineSettings
from jc1.engines.echo import EchoEngine
from jc1.messages import Message

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

REPLY = "Jürgen:❤😀"
"""What every engine of the suite replies when it is greedy: characters of one to four bytes, no byte twice."""
SIZE = 288
"""Tokens of the models: 256 bytes, a few special ones, the rest unused."""


def write_tokenizer(folder: Path) -> tuple[int, int, list[int]]:
    """A Hugging Face tokenizer whose tokens are bytes. Returns the ids of what opens a reply, what ends it, `REPLY`."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in ("<s>", "<end>", "<reply>")])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "<end>"}))
    (folder / "chat_template.jinja").write_text(
        "{{ bos_token }}{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<reply>' }}{% endif %}"
    )
    return tokenizer.token_to_id("<reply>"), tokenizer.token_to_id("<end>"), tokenizer.encode(REPLY).ids


def write_model(folder: Path, model: LlamaForCausalLM) -> None:
    """Weights and configuration, without `save_pretrained`, which imports every accelerator library there is."""
    from safetensors.torch import save_file

    save_file(model.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    model.config.save_pretrained(folder)


def write_random_model(folder: Path) -> Path:
    """A Llama with random weights, which attends to its whole context and ends almost never."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    _, end, _ = write_tokenizer(folder)
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=SIZE,
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=256,
            initializer_range=0.3,
            eos_token_id=end,
        )
    )
    write_model(folder, model)
    return folder


def write_bigram_model(folder: Path, *, scale: float = 1.0) -> Path:
    """A Llama whose next token depends on the last one alone, and which spells `REPLY`.

    The embedding is one-hot, attention and MLP add nothing, and the head holds the successor of each token. Other
    tokens get small random logits. `scale` multiplies the logits.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    opening, end, reply = write_tokenizer(folder)
    spelled = [opening, *reply, end]
    assert len(set(spelled)) == len(spelled), "each token needs one successor"
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=SIZE,
            hidden_size=SIZE,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=9,
            max_position_embeddings=2048,
            eos_token_id=end,
            tie_word_embeddings=False,
        )
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.eye(SIZE))
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        head = torch.rand(SIZE, SIZE, generator=generator)
        for token, successor in pairwise(spelled):
            head[successor, token] = 8.0
        # The norm before the head gives the one-hot state the length sqrt(SIZE).
        model.lm_head.weight.copy_(scale * head / SIZE**0.5)
    write_model(folder, model)
    # Defaults that a hub model may carry, and that must not reach a request.
    defaults = {"do_sample": True, "temperature": 0.6, "top_k": 1, "repetition_penalty": 1.3, "eos_token_id": [end]}
    (folder / "generation_config.json").write_text(json.dumps(defaults))
    return folder


@pytest.fixture(scope="session")
def bigram_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small model that spells `REPLY`."""
    return write_bigram_model(tmp_path_factory.mktemp("bigram"))


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small model with random weights."""
    return write_random_model(tmp_path_factory.mktemp("random"))


@pytest.fixture(scope="session")
def broken_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model whose logits are no numbers."""
    return write_bigram_model(tmp_path_factory.mktemp("broken"), scale=math.nan)


def _echo(request: pytest.FixtureRequest) -> Engine:
    return EchoEngine(context_length=256)


def _transformers(request: pytest.FixtureRequest) -> Engine:
    from jc1.engines.transformers import TransformersEngine

    return TransformersEngine(EngineSettings(model=str(request.getfixturevalue("bigram_model"))))


ENGINES: dict[str, Callable[[pytest.FixtureRequest], Engine]] = {"echo": _echo, "transformers": _transformers}


@pytest.fixture(params=ENGINES)
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    """A running engine whose greedy reply is `REPLY`."""
    engine = ENGINES[request.param](request)
    await engine.start()
    yield engine
    await engine.close()


@pytest.fixture
def prompt(engine: Engine) -> EnginePrompt:
    messages = (Message.system("Be brief."), Message.user(REPLY))
    return EnginePrompt(messages, tuple(engine.tokenize(messages)))
