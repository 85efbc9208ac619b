"""From tokens to the text that is shown: one reply under way.

Knows when a reply ends (end token, stop string, length) and what must be held back until that is certain. Knows nothing
about logits, models or threads. Used by the engines that detokenize here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from jc1.decoding import Decoding
from jc1.engines.base import Alternative, FinishReason, Step, TokenLogprob
from jc1.engines.call_formats import CallReader, Calls
from jc1.errors import PromptTooLong
from jc1.tools import ToolCallDelta

if TYPE_CHECKING:
    from jc1.tokenizer.tokenizer import Detokenizer, Tokenizer


def reply_limit(prompt_tokens: int, decoding: Decoding, context_length: int) -> int:
    """Return how many tokens the reply may have: what was asked for, or what the context leaves.

    Raises:
        PromptTooLong: It leaves nothing.
    """
    room = context_length - prompt_tokens
    if room < 1:
        raise PromptTooLong(tokens=prompt_tokens, budget=context_length - 1)
    return min(decoding.max_tokens, room)


def produced(tokenizer: Tokenizer, token: int, logprob: float, top: tuple[Alternative, ...]) -> TokenLogprob:
    """Return what is reported of a token that was produced."""
    return TokenLogprob(token, tokenizer.piece(token), logprob, top, tuple(tokenizer.bytes_of(token)))


def alternative(tokenizer: Tokenizer, token: int, logprob: float) -> Alternative:
    """Return what is reported of a token that was not."""
    return Alternative(token, tokenizer.piece(token), logprob, tuple(tokenizer.bytes_of(token)))


class StopStringMatcher:
    """Finds the first stop string in text that comes in pieces, and shows nothing that might still become one.

    The match that ends first counts, and of those the longest, so that the cut does not depend on how the text came in
    pieces.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._pending = ""
        self._ignored = 0
        """How much of the held text came while stops were not heeded: a match that ends in it does not count."""

    def push(self, text: str, *, heed: bool = True) -> tuple[str, str | None]:
        """Take new text; return what may be shown now, and the stop string that ended the reply, None where none did.

        `heed` is false while the reply may not end yet.
        """
        if not self._stops:
            return text, None
        pending = self._pending + text
        if not heed:
            self._ignored = len(pending)
        elif (match := self._find(pending)) is not None:
            self._pending = ""
            return pending[: match[0]], match[1]
        keep = self._possible_start(pending)
        shown = len(pending) - keep
        self._pending = pending[shown:]
        self._ignored = max(0, self._ignored - shown)
        return pending[:shown], None

    def flush(self) -> str:
        """Return what was held back, once no more text will come."""
        pending, self._pending = self._pending, ""
        return pending

    def _find(self, text: str) -> tuple[int, str] | None:
        """Return where the stop string that counts begins, and which it is; None where there is none."""
        ends = []
        for stop in self._stops:
            # From where a match would end after the text in which stops are not heeded.
            start = text.find(stop, max(0, self._ignored - len(stop) + 1))
            if start >= 0:
                ends.append((start + len(stop), start, stop))
        return min(ends)[1:] if ends else None

    def _possible_start(self, text: str) -> int:
        """Return the length of the longest end of `text` with which a stop string begins."""
        longest = max(len(stop) for stop in self._stops) - 1
        for length in range(min(len(text), longest), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self._stops):
                return length
        return 0


class OutputProcessor:
    """One choice: takes its tokens and gives the steps that an engine yields.

    The token that ends a reply, and those that spelled a stop string, are among `token_ids` (they were produced and are
    counted) but not in the text. Stop strings, like the end token, count only after `min_tokens`. `calls` reads calls
    of tools out of the text, where there are tools.
    """

    def __init__(
        self,
        index: int,
        decoding: Decoding,
        *,
        limit: int,
        end_tokens: Collection[int],
        stream: Detokenizer,
        calls: CallReader | None = None,
    ) -> None:
        self.index = index
        self.tokens = 0
        self.finish_reason: FinishReason | None = None
        self._min_tokens = decoding.min_tokens
        self._limit = limit
        self._end_tokens = end_tokens
        self._stream = stream
        self._stops = StopStringMatcher(decoding.stop)
        self._calls = calls
        self._logprobs = _PendingLogprobs()

    def add(self, token_id: int, logprob: TokenLogprob | None = None) -> Step:
        """Take the next token; return its step."""
        self.tokens += 1
        stop: str | None = None
        if token_id in self._end_tokens:
            text, self.finish_reason = "", "stop"
            self._logprobs.add(logprob, in_text=False)
        else:
            new = self._stream.push(token_id)
            self._logprobs.add(logprob, new)
            text, stop = self._stops.push(new, heed=self.tokens > self._min_tokens)
            if stop:
                self.finish_reason = "stop"
            elif self.tokens >= self._limit:
                self.finish_reason = "length"
        if self.finish_reason and not stop:
            rest, stop = self._stops.push(self._stream.finish())
            text += rest + self._stops.flush()
            self.finish_reason = "stop" if stop else self.finish_reason
        return self._step(text, (token_id,), stop)

    def add_all(
        self,
        token_ids: Iterable[int],
        logprobs: Iterable[TokenLogprob | None],
        finish_reason: FinishReason | None = None,
    ) -> Step | None:
        """Take the tokens that an engine gives at once; return their step, None where the reply had ended before.

        They are one step, so that a server that is behind catches up: it sends them together.

        Args:
            token_ids: What is new, in order; what comes after the end that is found here is left out.
            logprobs: What is reported of each token.
            finish_reason: Why the reply ends with these tokens, by the engine; what is found here counts first.
        """
        steps = [
            self.add(token_id, logprob)
            for token_id, logprob in zip(token_ids, logprobs, strict=True)
            if self.finish_reason is None
        ]
        if finish_reason is not None and self.finish_reason is None:
            steps.append(self.end(finish_reason))
        if len(steps) < 2:
            return steps[0] if steps else None
        return replace(
            steps[-1],
            text="".join(step.text for step in steps),
            token_ids=tuple(token_id for step in steps for token_id in step.token_ids),
            logprobs=None
            if all(step.logprobs is None for step in steps)
            else tuple(entry for step in steps for entry in step.logprobs or ()),
            calls=tuple(delta for step in steps for delta in step.calls),
        )

    def end(self, reason: FinishReason) -> Step:
        """End a reply that the engine ended for a reason of its own, after its last token."""
        text, stop = self._stops.push(self._stream.finish())
        self.finish_reason = "stop" if stop else reason
        return self._step(text + self._stops.flush(), (), stop)

    def _step(self, text: str, token_ids: tuple[int, ...], stop: str | None) -> Step:
        logprobs = self._logprobs.shown(len(text), last=self.finish_reason is not None)
        deltas: tuple[ToolCallDelta, ...] = ()
        if self._calls is not None:
            text, deltas = self._calls.push(text, last=self.finish_reason is not None)
            if self.finish_reason == "stop" and self._calls.calls:
                self.finish_reason = "tool_calls"
        return Step(self.index, text, token_ids, self.finish_reason, logprobs=logprobs, stop=stop, calls=deltas)


def processor(
    index: int,
    decoding: Decoding,
    *,
    limit: int,
    tokenizer: Tokenizer,
    calls: Calls | None = None,
    before: Sequence[int] = (),
) -> OutputProcessor:
    """Return what puts the tokens of one choice together, as `tokenizer` knows them, and reads `calls` out of them.

    `before` are the tokens whose text the choice goes on from.
    """
    stream = tokenizer.stream(() if calls is None else calls.spelled(tokenizer.special), before)
    return OutputProcessor(
        index,
        decoding,
        limit=limit,
        end_tokens=tokenizer.end_tokens,
        stream=stream,
        calls=None if calls is None else calls.reader(index),
    )


class _PendingLogprobs:
    """The entries of tokens whose text is held back, while it may still become a stop string."""

    def __init__(self) -> None:
        self._entries: list[tuple[int, TokenLogprob]] = []
        """With where in the text each ends."""
        self._written = 0
        self._shown = 0

    def add(self, entry: TokenLogprob | None, text: str = "", *, in_text: bool = True) -> None:
        """Take a token's entry, and the text that came with it."""
        self._written += len(text)
        if entry is not None:
            # A piece of a character is in the text when the character is.
            end = self._written + (in_text and not text)
            self._entries.append((end, entry if in_text else replace(entry, in_text=False)))

    def shown(self, length: int, *, last: bool) -> tuple[TokenLogprob, ...] | None:
        """Return the entries of what is shown by now, so much of it new; with the `last` those of the rest, too."""
        self._shown += length
        known = [entry for end, entry in self._entries if end <= self._shown]
        self._entries = self._entries[len(known) :]
        if last:
            known += [replace(entry, in_text=False) for _, entry in self._entries]
            self._entries = []
        return tuple(known) or None
