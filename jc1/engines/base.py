"""The interface of an engine: what it is asked, what it yields, and what it says it can do.

Knows nothing about any particular engine, about memory or about HTTP.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from jc1.decoding import GUIDES, Decoding
from jc1.errors import EngineUnavailable, InvalidRequest, UnsupportedDecoding
from jc1.messages import Message, pictures_in
from jc1.tools import ToolCallDelta, Toolset
from jc1.trace import Usage

if TYPE_CHECKING:
    from jc1.tokenizer.tokenizer import Tokenizer
    from jc1.vision.images import Picture

TEXT = frozenset({"text"})
TEXT_AND_IMAGES = TEXT | {"image"}

FinishReason = Literal["stop", "length", "content_filter", "tool_calls"]
"""Why a reply ended. That the rest was withheld only a remote server says."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a running engine honours.

    `decoding` names the fields of `Decoding` it carries out; `context_length` is in tokens, prompt and reply together;
    `advice` tells, by field, what to do instead of a field that is missing.
    """

    decoding: frozenset[str]
    context_length: int
    modalities: frozenset[str] = TEXT
    """What it reads: `text`, and `image` where it sees."""
    advice: Mapping[str, str] = field(default_factory=dict)
    tools: bool = False
    """Whether it takes tools; `advice` has a word on `tools` too."""
    raw: bool = True
    """Whether it takes prompts that no template is applied to; `advice` then has a word on `prompt`."""

    def check(self, decoding: Decoding, engine: str, *, preset: str = "", presets: Collection[str] = ()) -> None:
        """Raise `UnsupportedDecoding` for the first chosen field that the engine cannot honour.

        For the fields `presets` the one that is named `preset` is blamed.
        """
        for name in decoding.chosen:
            if name not in self.decoding:
                raise self._refused(name, engine, preset if name in presets else None)

    def check_tools(self, engine: str) -> None:
        """Raise `UnsupportedDecoding` where the engine takes no tools."""
        if not self.tools:
            raise self._refused("tools", engine)

    def check_raw(self, engine: str) -> None:
        """Raise `UnsupportedDecoding` where the engine takes no raw prompts."""
        if not self.raw:
            raise self._refused("prompt", engine)

    @property
    def sees(self) -> bool:
        """Return whether it can be shown pictures."""
        return "image" in self.modalities

    def _refused(self, name: str, engine: str, preset: str | None = None) -> UnsupportedDecoding:
        advice = self.advice.get(name, "leave it out, or choose another engine.")
        return UnsupportedDecoding(name, engine, advice, preset=preset)


@dataclass(frozen=True, slots=True)
class EnginePrompt:
    """A prompt, as messages and, where the engine tokenizes here, as token ids; with the tools that may be called.

    One without messages is raw: its token ids are all there is, and the reply's text goes on from theirs.
    """

    messages: tuple[Message, ...]
    token_ids: tuple[int, ...] = ()
    tools: Toolset | None = None
    trace_headers: Mapping[str, str] = field(default_factory=dict)
    """What a server that the engine asks is told of the request's trace."""

    @property
    def raw(self) -> bool:
        return not self.messages

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Return the pictures of the messages, in their order, as far as they were read."""
        return tuple(part.picture for part in pictures_in(self.messages) if part.picture is not None)

    @property
    def before(self) -> tuple[int, ...]:
        """Return the token ids whose text the reply goes on from; after a template it begins anew."""
        return self.token_ids if self.raw else ()


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token that could have stood in a place, with the model's log probability (natural).

    `bytes` are what it adds to the text, where that is known: `text` has U+FFFD for a piece of a character.
    """

    token_id: int
    text: str
    logprob: float
    bytes: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A produced token with its log probability and the most likely alternatives.

    Not `in_text` are the end token, and those that spelled a stop string.
    """

    token_id: int
    text: str
    logprob: float
    top: tuple[Alternative, ...] = ()
    bytes: tuple[int, ...] | None = None
    in_text: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """What an engine yields: new text and tokens of one choice.

    `text` may be empty while a character is incomplete or a stop string may be under way. `token_ids` are all that were
    produced, the end token and those that spelled a stop string included; `logprobs`, if asked for, has an entry for
    each, which comes once it is known whether it is in the text. `reasoning` is what a model thought before its reply,
    where that is told apart, and `calls` what it asked of tools; neither is part of the text. The last step of a choice
    carries `finish_reason`, and the `stop` string that ended it, where one did. `seconds` holds the engine's own
    figures for `queue` and `prefill`, on the first step that has them; `speculation` comes with the end, and so do a
    beam's `score` and, from an engine that counts tokens elsewhere, the `usage`.
    """

    index: int
    text: str
    token_ids: tuple[int, ...] = ()
    finish_reason: FinishReason | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    speculation: Mapping[str, object] | None = None
    score: float | None = None
    usage: Usage | None = None
    reasoning: str = ""
    stop: str | None = None
    calls: tuple[ToolCallDelta, ...] = ()


UNGUIDED = frozenset(Decoding.model_fields) - frozenset(GUIDES)
"""All fields of `Decoding` but those for guided output."""
GUIDES_ADVICE = dict.fromkeys(GUIDES, "it cannot confine a reply to a form; the transformers and vllm engines can.")
"""What an engine without guided output says of these fields."""


class Engine(ABC):
    """A running model. `start` before use, `close` after; both may be called twice."""

    name: str
    """The engine's word in settings: `transformers`, `vllm`, `echo` ..."""

    model: str
    """The name under which the model is served."""

    active: int = 0
    """Requests that run or wait in this engine."""

    shards: Sequence[Mapping[str, int]] = ()
    """Of each process that holds a share of the weights: parameters `held`, their `bytes`, and those in `total`."""

    repeats_seeds: bool = False
    """Whether a seed fixes the reply to the letter, whatever runs beside it."""

    _capabilities: Capabilities | None = None
    _tokenizer: Tokenizer | None = None

    _vocab: int = 0
    """Tokens of the model, known once it is loaded."""

    @abstractmethod
    async def start(self) -> None:
        """Load what is needed. Raises `EngineUnavailable` with the next step."""

    @abstractmethod
    async def close(self) -> None:
        """Take no more requests, let the running one end, and give the memory back."""

    @property
    def capabilities(self) -> Capabilities:
        """Return what this engine, as it was started, honours. Raises `EngineUnavailable` before it is started."""
        if self._capabilities is None:
            raise self._not_running()
        return self._capabilities

    @property
    @abstractmethod
    def healthy(self) -> bool:
        """Return whether a request would be served now."""

    def tokenize(self, messages: Sequence[Message], tools: Toolset | None = None) -> list[int]:
        """Return the token ids of messages and tools through the model's chat template, with the opening of the reply.

        Empty where the engine does not tokenize here.
        """
        if self._tokenizer is None:
            raise self._not_running()
        return self._tokenizer.chat(messages, tools=tools.tools if tools else ())

    def count(self, messages: Sequence[Message], tools: Toolset | None = None) -> int:
        """Return how many tokens messages and tools take; an engine that does not tokenize here estimates it."""
        return len(self.tokenize(messages, tools))

    def picture_tokens(self, picture: Picture) -> int:
        """Return how many tokens of a prompt a picture takes; 0 where the engine shows its model none."""
        return 0

    def encode(self, prompt: str | Sequence[int]) -> tuple[int, ...]:
        """Return the token ids of a raw prompt: those that it was given as, or of its text, behind what the model's
        tokenizer puts before every text.

        Raises:
            InvalidRequest: An id is none of the model's.
        """
        if self._tokenizer is None:
            raise self._not_running()
        if isinstance(prompt, str):
            return (*self._tokenizer.opening, *self._tokenizer.encode(prompt))
        return known_ids(prompt, self._vocab)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Return the text of tokens, special ones left out."""
        if self._tokenizer is None:
            raise self._not_running()
        return self._tokenizer.decode(token_ids)

    @abstractmethod
    def generate(self, prompt: EnginePrompt, decoding: Decoding) -> AsyncGenerator[Step, None]:
        """Yield the reply step by step. Closing the generator frees the engine's slot at once.

        The reply gets `max_tokens` or what the prompt leaves of the context, whichever is less.

        Raises:
            UnsupportedDecoding: Before the first step, for a field that this engine does not honour.
            InvalidDecoding: Before the first step, for a token id that the model does not have.
            PromptTooLong: Before the first step.
            EngineUnavailable: The engine is not started, or closing.
            EngineFailed: The engine broke.
        """

    def identity(self) -> str | None:
        """Return what tells the model that runs here from every other: its weights and tokenizer, not their name.

        `None` where that cannot be known. May read all weights the first time: call it in a thread.
        """
        return None

    async def forget_prefixes(self) -> bool:
        """Drop the KV cache of earlier prompts, so that the next are read afresh; return False where none is kept."""
        return False

    def _not_running(self) -> EngineUnavailable:
        return EngineUnavailable(
            f"The {self.name} engine is not running: start it, or send the request again when it is."
        )


def known_ids(token_ids: Sequence[int], vocab: int) -> tuple[int, ...]:
    """Return token ids as they are. Raises `InvalidRequest` where one is none of a vocabulary of `vocab`."""
    if token_ids and not 0 <= min(token_ids) <= max(token_ids) < vocab:
        unknown = next(token for token in token_ids if not 0 <= token < vocab)
        raise InvalidRequest(f"The prompt holds token {unknown}: this model's ids end at {vocab - 1}.", param="prompt")
    return tuple(token_ids)
