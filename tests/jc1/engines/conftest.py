"""The engines that must behave alike, each made so that its greedy reply to anything is known.

An engine joins the conformance suite by a line in `ENGINES` or `SHARED`.
"""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import uvloop

from jc1.decoding import Decoding
from jc1.engines.base import Capabilities, Engine, EnginePrompt, Step
from jc1.engines.echo import EchoEngine
from jc1.engines.settings import EngineSettings
from jc1.messages import Message
from jc1.tools import Toolset

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

T = TypeVar("T")
HERE = Path(__file__).parent
REPLY = "Jürgen:❤😀"
"""What every engine of the suite replies when it is greedy: characters of one to four bytes, no byte twice."""
SIZE = 288
"""Tokens of the models: 256 bytes, a few special ones, the rest unused."""


HERMES = (
    "{{ bos_token }}"
    "{% if tools %}<tools>{% for tool in tools %}{{ tool['function'] | tojson }}{% endfor %}</tools>\n{% endif %}"
    "{% for m in messages %}{% if m['role'] == 'tool' %}<tool_response>{{ m['content'] }}</tool_response>\n"
    "{% else %}{{ m['role'] + ': ' + m['content'] }}{% for call in m['tool_calls'] or [] %}"
    "{{ '<tool_call>\n{\"name\": \"' + call['function']['name'] + '\", \"arguments\": ' }}"
    "{{ call['function']['arguments'] | tojson }}{{ '}\n</tool_call>' }}{% endfor %}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<reply>' }}{% endif %}"
)
"""The template of these models, of the Hermes family, and short, since they read byte for byte."""


def write_tokenizer(folder: Path) -> tuple[int, int, list[int]]:
    """Write a Hugging Face tokenizer whose tokens are bytes.

    Returns:
        The id of what opens a reply, the id of what ends it, and the ids of `REPLY`.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in ("<s>", "<end>", "<reply>")])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "<end>"}))
    (folder / "chat_template.jinja").write_text(HERMES)
    return tokenizer.token_to_id("<reply>"), tokenizer.token_to_id("<end>"), tokenizer.encode(REPLY).ids


def _letter(folder: Path, letter: str) -> int:
    from tokenizers import Tokenizer

    (token,) = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(letter).ids
    return int(token)


def write_model(folder: Path, model: LlamaForCausalLM) -> None:
    """Write weights and configuration, without `save_pretrained`, which imports every accelerator library there is."""
    from safetensors.torch import save_file

    weights = model.state_dict()
    if model.config.tie_word_embeddings:
        del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    model.config.save_pretrained(folder)


def write_random_model(folder: Path, *, context: int = 256) -> Path:
    """Write a Llama with random weights, which attends to its whole context and ends almost never; return `folder`."""
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
            max_position_embeddings=context,
            initializer_range=0.3,
            eos_token_id=end,
        )
    )
    write_model(folder, model)
    return folder


def write_bigram_model(folder: Path, *, scale: float = 1.0, poison: str = "") -> Path:
    """Write a Llama whose next token depends on the last one alone, and which spells `REPLY`; return `folder`.

    The embedding is one-hot, attention and MLP add nothing, and the head holds the successor of each token. Other
    tokens get small random logits. `scale` multiplies the logits; a prompt that holds the letter `poison` gives no
    numbers.
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
        if poison:
            model.model.embed_tokens.weight[_letter(folder, poison)] = math.nan
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
    """Return the folder of a small model that spells `REPLY`."""
    return write_bigram_model(tmp_path_factory.mktemp("bigram"))


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small model with random weights."""
    return write_random_model(tmp_path_factory.mktemp("random"))


@pytest.fixture(scope="session")
def tool_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model with random weights, which reads enough for tools."""
    return write_random_model(tmp_path_factory.mktemp("tools"), context=4096)


@pytest.fixture(scope="session")
def broken_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model whose logits are no numbers."""
    return write_bigram_model(tmp_path_factory.mktemp("broken"), scale=math.nan)


@pytest.fixture(scope="session")
def poisoned_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model that has no numbers for prompts with a 'Z' in them."""
    return write_bigram_model(tmp_path_factory.mktemp("poisoned"), poison="Z")


class ThreadedEngine(Engine):
    """An engine that runs in an event loop of its own, so that tests, which have one each, can share it. The loop is
    uvloop's, as in `jc1 serve`."""

    def __init__(self, make: Callable[[], Engine]) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.inner = make()
        self.name, self.model = self.inner.name, self.inner.model

    def begin(self) -> None:
        asyncio.run_coroutine_threadsafe(self.inner.start(), self._loop).result()

    def end(self) -> None:
        asyncio.run_coroutine_threadsafe(self.inner.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def active(self) -> int:  # type: ignore[override]
        return self.inner.active

    @property
    def capabilities(self) -> Capabilities:
        return self.inner.capabilities

    @property
    def healthy(self) -> bool:
        return self.inner.healthy

    def tokenize(self, messages: Sequence[Message], tools: Toolset | None = None) -> list[int]:
        return self.inner.tokenize(messages, tools)

    def encode(self, prompt: str | Sequence[int]) -> tuple[int, ...]:
        return self.inner.encode(prompt)

    def decode(self, token_ids: Sequence[int]) -> str:
        return self.inner.decode(token_ids)

    async def there(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def start(self) -> None:
        await self.there(self.inner.start())

    async def close(self) -> None:
        await self.there(self.inner.close())

    async def generate(self, prompt: EnginePrompt, decoding: Decoding) -> AsyncGenerator[Step, None]:
        here = asyncio.get_running_loop()
        arrived: asyncio.Queue[Step | BaseException | None] = asyncio.Queue()

        def post(what: Step | BaseException | None) -> None:
            here.call_soon_threadsafe(arrived.put_nowait, what)

        async def pump() -> None:
            try:
                async with aclosing(self.inner.generate(prompt, decoding)) as steps:
                    async for step in steps:
                        post(step)
            except Exception as error:
                post(error)
            finally:
                post(None)

        async def begin() -> asyncio.Task[None]:
            return asyncio.create_task(pump())

        task = await self.there(begin())
        over = False
        try:
            while (what := await arrived.get()) is not None:
                if isinstance(what, BaseException):
                    raise what
                yield what
            over = True
        finally:
            self._loop.call_soon_threadsafe(task.cancel)
            while not over and await arrived.get() is not None:
                pass


def _echo(request: pytest.FixtureRequest) -> Engine:
    return EchoEngine(context_length=256)


def _transformers(request: pytest.FixtureRequest) -> Engine:
    from jc1.engines.transformers.engine import TransformersEngine

    return TransformersEngine(EngineSettings(model=str(request.getfixturevalue("bigram_model"))))


ENGINES: dict[str, Callable[[pytest.FixtureRequest], Engine]] = {"echo": _echo, "transformers": _transformers}
"""Engines that start at once: each test has one of its own."""


SMALL: dict[str, Any] = {"kv_cache_gib": 0.25, "engine_args": {"enforce_eager": True}}
"""What makes vLLM start sooner: a small KV cache, and no compiling."""
AT_ONCE = 2
"""Engines of the fleet that are alive at a time: each holds a gigabyte, and some spin while they wait."""


class Fleet:
    """Engines whose start takes long: started when first asked for, shared by tests, the one unused longest ended."""

    def __init__(self) -> None:
        self._alive: dict[str, ThreadedEngine] = {}

    def get(self, name: str, make: Callable[[], Engine]) -> ThreadedEngine:
        engine = self._alive.pop(name, None)
        if engine is None:
            while len(self._alive) >= AT_ONCE:
                self._alive.pop(next(iter(self._alive))).end()
            engine = ThreadedEngine(make)
            try:
                engine.begin()
            except BaseException:
                engine.end()
                raise
        self._alive[name] = engine
        return engine

    def end(self) -> None:
        while self._alive:
            self._alive.popitem()[1].end()


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Yield a fleet whose engines start where a killed build of DeepSpeed's operators left its locks: none waits."""
    left = tmp_path_factory.mktemp("extensions")
    for name in LOCKED:
        (left / name).mkdir()
        (left / name / "lock").touch()
    made = Fleet()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_EXTENSIONS_DIR", str(left))
        yield made
        made.end()


LOCKED = ("deepspeed_shm_comm", "deepspeed_ccl_comm", "async_io", "utils")
"""Operators that DeepSpeed would build at a start, each under a lock for which it waits for ever."""


def _vllm(**settings: Any) -> Engine:
    from jc1.engines.vllm.engine import VllmEngine

    return VllmEngine(EngineSettings(**{**SMALL, **settings}))


def _deepspeed(**settings: Any) -> Engine:
    from jc1.engines.deepspeed.engine import DeepSpeedEngine

    return DeepSpeedEngine(EngineSettings(ranks=2, **settings))


@pytest.fixture
def vllm_bigram(fleet: Fleet, bigram_model: Path) -> ThreadedEngine:
    """Return the bigram model on vLLM."""
    return fleet.get("vllm_bigram", lambda: _vllm(model=str(bigram_model)))


@pytest.fixture
def deepspeed_bigram(fleet: Fleet, bigram_model: Path) -> ThreadedEngine:
    """Return the bigram model shared by two ranks."""
    return fleet.get("deepspeed_bigram", lambda: _deepspeed(model=str(bigram_model)))


@pytest.fixture
def vllm_tiny(fleet: Fleet) -> ThreadedEngine:
    """Return jc1-tiny on vLLM."""
    return fleet.get("vllm_tiny", _vllm)


@pytest.fixture
def vllm_ngram(fleet: Fleet) -> ThreadedEngine:
    """Return jc1-tiny with n-gram speculation."""
    return fleet.get("vllm_ngram", lambda: _vllm(speculation="ngram:3"))


@pytest.fixture
def vllm_draft(fleet: Fleet) -> ThreadedEngine:
    """Return jc1-tiny with the draft made for it."""
    return fleet.get("vllm_draft", lambda: _vllm(speculation="draft:jc1-tiny-draft:3"))


@pytest.fixture
def vllm_parallel(fleet: Fleet) -> ThreadedEngine:
    """Return jc1-tiny with each layer on two workers."""
    return fleet.get("vllm_parallel", lambda: _vllm(tensor_parallel=2))


@pytest.fixture
def deepspeed_tiny(fleet: Fleet) -> ThreadedEngine:
    """Return jc1-tiny shared by two ranks."""
    return fleet.get("deepspeed_tiny", _deepspeed)


@pytest.fixture(scope="session")
def transformers_tiny() -> Iterator[ThreadedEngine]:
    """Yield jc1-tiny on transformers."""
    from jc1.engines.transformers.engine import TransformersEngine

    engine = ThreadedEngine(lambda: TransformersEngine(EngineSettings()))
    engine.begin()
    yield engine
    engine.end()


SHARED = {"vllm": "vllm_bigram", "deepspeed": "deepspeed_bigram"}
"""Engines of the fleet that join the conformance suite, and the fixture of each."""
FLEET = (
    *("vllm_bigram", "deepspeed_bigram", "deepspeed_tiny", "vllm_parallel", "vllm_ngram", "vllm_tiny", "vllm_draft"),
    "remote_tiny",
)
"""The fixtures of the fleet, in the order in which tests ask for them: two that a test has at once stand side by side,
and the last one ends all others."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests that start engines by the engines they ask for, so that each starts once."""
    places = [i for i, item in enumerate(items) if item.get_closest_marker("engines")]
    ordered = sorted((items[i] for i in places), key=_asked)
    for place, item in zip(places, ordered, strict=True):
        items[place] = item


def _asked(item: pytest.Item) -> tuple[int, ...]:
    """Return the places in the fleet of the engines that a test asks for, by their fixtures or as parameters."""
    if not isinstance(item, pytest.Function) or not item.path.is_relative_to(HERE):
        return ()
    words = [str(value) for value in item.callspec.params.values()] if hasattr(item, "callspec") else []
    asked = {SHARED.get(word, word) for word in words} | set(item.fixturenames)
    return tuple(place for place, name in enumerate(FLEET) if name in asked)


@pytest.fixture(params=[*ENGINES, *(pytest.param(name, marks=pytest.mark.engines) for name in SHARED)])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    """Yield a running engine whose greedy reply is `REPLY`."""
    if request.param in SHARED:
        yield request.getfixturevalue(SHARED[request.param])
        return
    engine = ENGINES[request.param](request)
    await engine.start()
    yield engine
    await engine.close()


@pytest.fixture
def prompt(engine: Engine) -> EnginePrompt:
    messages = (Message.system("Be brief."), Message.user(REPLY))
    return EnginePrompt(messages, tuple(engine.tokenize(messages)))


@pytest.fixture(scope="session")
def vision_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the folders of tiny random models that see, one of each family."""
    from tests.support.vision_models import FAMILIES

    folders = {name: tmp_path_factory.mktemp(f"tiny-{name}") for name in FAMILIES}
    for name, write in FAMILIES.items():
        write(folders[name])
    return folders


@pytest.fixture(scope="module", params=["llava", "qwen", "smolvlm"])
def vision_model(request: pytest.FixtureRequest, vision_models: dict[str, Path]) -> Path:
    """Return the folder of each of them."""
    return vision_models[request.param]
