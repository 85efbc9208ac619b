"""Reading aloud: a text, or a reply while it is still being written, sentence by sentence.

Knows how sentences become sound while tokens go on, and how far a reply was said. Knows nothing about voices, formats
of sound, or how a reply comes about.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from jc1.errors import InvalidRequest, Jc1Error, NothingToSay, UnknownVoice
from jc1.reply import Spoken, Token
from jc1.speech.base import FASTEST, SLOWEST, Audio, Speaking
from jc1.speech.sentences import Sentences
from jc1.speech.speakable import speakable
from jc1.speech.threads import steps
from jc1.trace import Notice

if TYPE_CHECKING:
    from jc1.reply import Event
    from jc1.speech.base import Synthesizer
    from jc1.trace import Trace

log = logging.getLogger(__name__)

EVENTS_AHEAD = 32
"""Events that wait for who reads them; then writing and speaking wait too."""


def check(synthesizer: Synthesizer, speaking: Speaking) -> None:
    """Raise `UnknownVoice`, or `InvalidRequest` for a speed that is out of range."""
    if speaking.voice is not None and synthesizer.voices and speaking.voice not in synthesizer.voices:
        raise UnknownVoice(
            f"{synthesizer.model} has no voice {speaking.voice!r}: it has {', '.join(synthesizer.voices)}.",
            param="voice",
        )
    if not SLOWEST <= speaking.speed <= FASTEST:
        raise InvalidRequest(f"'speed' is {speaking.speed:g} and goes from {SLOWEST:g} to {FASTEST:g}.", param="speed")


def read(synthesizer: Synthesizer, text: str, speaking: Speaking) -> Iterator[Audio]:
    """Yield the sound of a text, a sentence or less at a time. Blocks.

    Raises:
        UnknownVoice: As `check` does.
        NothingToSay: No word of it can be said.
        Jc1Error: As `Synthesizer.synthesize` does.
    """
    check(synthesizer, speaking)
    sentences = Sentences(synthesizer.language)
    silent = True
    for sentence in (*sentences.feed(text), *sentences.finish()):
        for audio in _sound(synthesizer, sentence, speaking):
            silent = False
            yield audio
    if silent:
        raise NothingToSay("The text has no word that can be said: send one with letters or numbers.", param="input")


def _sound(synthesizer: Synthesizer, sentence: str, speaking: Speaking) -> Iterator[Audio]:
    text = speakable(sentence, synthesizer.language)
    if text:
        yield from synthesizer.synthesize(text, voice=speaking.voice, speed=speaking.speed)


@dataclass(frozen=True, slots=True)
class _Ended:
    """A task came to its end, or failed."""

    error: Exception | None


class Aloud:
    """Reads a reply aloud while it is being written.

    Raises:
        UnknownVoice: As `check` does.
    """

    def __init__(self, synthesizer: Synthesizer, speaking: Speaking, trace: Trace) -> None:
        check(synthesizer, speaking)
        self._synthesizer = synthesizer
        self._speaking = speaking
        self._trace = trace
        self._arrived: asyncio.Queue[Event | _Ended] = asyncio.Queue(EVENTS_AHEAD)
        self._sentences: asyncio.Queue[str | None] = asyncio.Queue()
        self.said = ""
        """The reply's text as far as its sound was handed out, to the end of a sentence."""
        self.broken = False
        """Whether the voice failed: the reply then goes on without it."""

    async def over(self, pieces: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
        """Yield a reply's pieces as they come, and between them the sound of each sentence as it is made.

        Only the first choice is read out, and nothing of its reasoning. Closing the generator closes `pieces`, and
        makes no more sound than that of the sentence under way.
        """
        tasks = [asyncio.create_task(self._to_its_end(work)) for work in (self._write(pieces), self._speak())]
        running = len(tasks)
        try:
            while running:
                came = await self._arrived.get()
                if isinstance(came, _Ended):
                    if came.error is not None:
                        raise came.error
                    running -= 1
                    continue
                if isinstance(came, Spoken):
                    self.said += came.text
                yield came
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _to_its_end(self, work: Coroutine[None, None, None]) -> None:
        """Do the work, and tell when it is done and what it failed with."""
        error: Exception | None = None
        try:
            await work
        except Exception as failure:  # raised again by who reads the events
            error = failure
        await self._arrived.put(_Ended(error))

    async def _write(self, pieces: AsyncGenerator[Event, None]) -> None:
        """Hand on the pieces, and the sentences that become whole with them."""
        sentences = Sentences(self._synthesizer.language)
        async with aclosing(pieces):
            async for piece in pieces:
                await self._arrived.put(piece)
                if isinstance(piece, Token) and piece.index == 0:
                    for sentence in sentences.feed(piece.text):
                        self._sentences.put_nowait(sentence)
        for rest in (*sentences.finish(), None):
            self._sentences.put_nowait(rest)

    async def _speak(self) -> None:
        """Hand on the sound of each sentence; one that has none goes with an empty sound."""
        while (sentence := await self._sentences.get()) is not None:
            text = sentence
            try:
                async with aclosing(steps(partial(_sound, self._synthesizer, sentence, self._speaking))) as sounds:
                    began = self._trace.elapsed()
                    async for audio in sounds:
                        self._trace.add("speak", began, self._trace.elapsed() - began)
                        if self._trace.first_audio is None:
                            self._trace.first_audio = self._trace.elapsed()
                        await self._arrived.put(Spoken(text, audio))
                        text, began = "", self._trace.elapsed()
            except Jc1Error as error:
                log.warning("trace %s goes on without a voice: %s", self._trace.id, error.message)
                self._trace.notices = (*self._trace.notices, Notice(error.code, error.message))
                self.broken = True
                return
            if text:
                await self._arrived.put(Spoken(text, None))
