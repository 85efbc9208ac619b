"""Guides: grammars compiled for one model, and which tokens each leaves a reply to go on with.

Knows llguidance, and that a grammar from outside may be made to exhaust whoever compiles it: it is compiled in a
process first, which is ended when it takes too long. Knows nothing about how grammars come about or tokens are drawn.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jc1.engines import guide_check
from jc1.engines.grammar import Grammar
from jc1.errors import InvalidDecoding

if TYPE_CHECKING:
    import llguidance

    from jc1.tokenizer.tokenizer import Tokenizer

log = logging.getLogger(__name__)

MEMORY_BYTES = 2**30
"""Bytes of address space that compiling a grammar may take."""
AT_ONCE = 2
"""Grammars that are tried at a time."""
REMEMBERED = 256
"""Grammars that are known to compile."""


class Guide:
    """A compiled grammar: `follow` it once for each reply."""

    def __init__(self, matcher: llguidance.LLMatcher, param: str) -> None:
        self._matcher = matcher
        self._param = param

    def follow(self) -> Following:
        """Begin a reply."""
        return Following(self._matcher.deep_copy(), self._param)


class Following:
    """A reply that is kept to a grammar while it is written."""

    def __init__(self, matcher: llguidance.LLMatcher, param: str) -> None:
        self._matcher = matcher
        self._param = param

    @property
    def over(self) -> bool:
        """Return whether nothing may follow but an end token."""
        return self._matcher.is_stopped()

    @property
    def error(self) -> InvalidDecoding | None:
        """Return why the grammar cannot be followed any more, if so."""
        return too_complex(self._param) if self._matcher.is_error() else None

    def allowed(self, vocab: int) -> NDArray[np.bool_]:
        """Return which tokens may follow, shape (vocab,)."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        return np.unpackbits(bits, count=vocab, bitorder="little").astype(bool)

    def take(self, token: int) -> None:
        """Go on with a token that may follow."""
        if not self._matcher.is_stopped():
            self._matcher.consume_token(token)


class Guides:
    """The grammars of one model. `seconds` is how long one may take to compile."""

    def __init__(self, tokenizer: Tokenizer, vocab: int, *, seconds: float) -> None:
        self._tokenizer = tokenizer
        self._vocab = vocab
        self._seconds = seconds
        self._places = asyncio.Semaphore(AT_ONCE)
        self._compiled: OrderedDict[str, None] = OrderedDict()
        """Those that compiled, the latest used last."""
        self._llguidance: llguidance.LLTokenizer | None = None

    async def compile(self, grammar: Grammar) -> Guide:
        """Return the compiled grammar. Raises `InvalidDecoding` where it cannot be, in time or at all."""
        await self.check(grammar)
        return await asyncio.to_thread(self._compile, grammar)

    async def check(self, grammar: Grammar) -> None:
        """Raise `InvalidDecoding` where the grammar cannot be compiled, in time or at all."""
        if grammar.lark not in self._compiled:
            async with self._places:
                await self._try(grammar)
        self._compiled[grammar.lark] = None
        self._compiled.move_to_end(grammar.lark)
        while len(self._compiled) > REMEMBERED:
            self._compiled.popitem(last=False)

    async def _try(self, grammar: Grammar) -> None:
        """Compile the grammar in a process of its own."""
        # -P: a file beside the script is not taken for a module.
        command = [sys.executable, "-P", guide_check.__file__, str(MEMORY_BYTES), str(self._vocab)]
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            async with asyncio.timeout(self._seconds):
                await process.communicate(grammar.lark.encode())
        except TimeoutError:
            raise too_complex(grammar.param) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            # Not the compiler's words: they quote what was sent.
            log.info("%s cannot be compiled: its compiler ended with %d", grammar.param, process.returncode)
            raise too_complex(grammar.param)

    def _compile(self, grammar: Grammar) -> Guide:
        import llguidance

        if self._llguidance is None:
            wrapper: Any = llguidance.TokenizerWrapper(_Vocabulary(self._tokenizer, self._vocab))
            ends = list(self._tokenizer.end_tokens)
            self._llguidance = llguidance.LLTokenizer(wrapper, n_vocab=self._vocab, eos_token=ends)
        matcher = llguidance.LLMatcher(self._llguidance, grammar.lark, log_level=0)
        if matcher.is_error():
            log.info("%s cannot be compiled: its matcher refuses it", grammar.param)
            raise too_complex(grammar.param)
        return Guide(matcher, grammar.param)


def too_complex(param: str) -> InvalidDecoding:
    """Return the error of a guide that cannot be followed."""
    return InvalidDecoding(f"{param!r} cannot be compiled to a grammar: simplify it.", param=param)


class _Vocabulary:
    """A model's tokens as llguidance takes them."""

    def __init__(self, tokenizer: Tokenizer, vocab: int) -> None:
        self.eos_token_id = tokenizer.end_tokens[0]
        self.bos_token_id = None
        self.tokens = [tokenizer.bytes_of(token) for token in range(vocab)]
        self.special_token_ids = [*tokenizer.special.values()]
        self._encode = tokenizer.encode

    def __call__(self, text: bytes) -> list[int]:
        return self._encode(text.decode(errors="replace"))
