"""A hands-free talk: sound comes in frame by frame, turns end by themselves, and nobody is spoken over.

Knows where turns begin and end, what becomes of a reply when the person begins to speak, and how far ahead of the
listener's ear its sound is handed out. Knows nothing about connections, or how a reply comes about.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

import numpy as np

from jc1.errors import DamagedAudio, Jc1Error, RequestTooLarge, SpeechFailed
from jc1.messages import PCM, AudioPart
from jc1.reply import Event, Spoken
from jc1.speech.activity import Activity, Knobs, SpeechStarted
from jc1.speech.base import HEARING_RATE

log = logging.getLogger(__name__)

FRAME_BYTES = 2 * HEARING_RATE * 2
"""Most bytes that are taken at once: two seconds."""
KEPT_SECONDS = 2.0
"""How much sound in which nobody speaks is kept: more than the padding before a turn."""
BYTES_A_SECOND = 2 * HEARING_RATE


@dataclass(frozen=True, slots=True)
class Manners:
    """How turns are taken, by LiveKit's names; durations in seconds."""

    knobs: Knobs = field(default_factory=Knobs)
    min_interruption_duration: float = 0.4
    """For how long the person speaks before a reply under way is broken off: a cough or a "yes" does not."""
    max_turn_duration: float = 60.0
    """A turn that is longer is answered as far as it goes."""
    lead: float = 1.0
    """How far ahead of the listener's ear sound is handed out: what a person interrupts was hardly heard, and memory
    keeps little that was not."""


@dataclass(frozen=True, slots=True)
class TurnBegan:
    """Event: the person begins to speak, at `start` seconds of the talk."""

    start: float


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """Event: the person spoke from `start` to `end`, in seconds of the talk, and is answered now."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Event: the reply is broken off. What of its sound was not played yet is to be thrown away."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Event: a turn got no reply, or half of one. The talk goes on."""

    error: Jc1Error


TalkEvent = TurnBegan | TurnEnded | Interrupted | Failed | Event


class Talk:
    """One talk. `feed` it with sound from one task, read `events` in another, and `close` it.

    Args:
        reply: Makes a stream of the pipeline's events out of what was said; the stream is closed when it is not wanted
            any more.
        manners: How turns are taken.
    """

    def __init__(
        self, reply: Callable[[AudioPart], AsyncGenerator[Event, None]], manners: Manners | None = None
    ) -> None:
        self._reply = reply
        self._manners = manners or Manners()
        self._activity = Activity(self._manners.knobs)
        self._origin = 0.0
        """Second of the talk at which the activity began to count."""
        self._sound = bytearray()
        self._sound_at = 0.0
        """Second of the talk at which the kept sound begins."""
        self._turn_from: float | None = None
        self._unanswered = b""
        """What was said and then gone on with before a word of the answer was."""
        self._answering: asyncio.Task[None] | None = None
        self._spoke = False
        """Whether the reply under way was heard of."""
        self._plays_until = 0.0
        self._events: asyncio.Queue[TalkEvent | None] = asyncio.Queue()

    async def feed(self, frame: bytes) -> None:
        """Take in what comes next: mono samples of 16 bits, little-endian, at `HEARING_RATE`.

        Raises:
            DamagedAudio: The frame ends within a sample.
            RequestTooLarge: It has more than `FRAME_BYTES`.
        """
        if len(frame) % 2:
            raise DamagedAudio("The frame ends within a sample: send 16 bits for each.", param="audio")
        if len(frame) > FRAME_BYTES:
            raise RequestTooLarge(f"The frame has {len(frame):,} bytes: send {FRAME_BYTES:,} at most.", param="audio")
        self._sound += frame
        samples = np.frombuffer(frame, "<i2").astype(np.float32) / np.float32(32768)
        # 1) Where somebody begins, or ends
        for happened in self._activity.feed(samples):
            if isinstance(happened, SpeechStarted):
                self._turn_from = self._origin + happened.start
                self._events.put_nowait(TurnBegan(self._turn_from))
            else:
                await self._end(self._origin + happened.start, self._origin + happened.end)
        # 2) Who speaks for a while is not spoken over, and who speaks for long is answered
        if self._turn_from is not None:
            spoken = self._now - self._turn_from - self._manners.knobs.prefix_padding_duration
            if self._replying and spoken >= self._manners.min_interruption_duration:
                await self._interrupt()
            if spoken >= self._manners.max_turn_duration:
                await self._end(self._turn_from, self._now)
                self._activity, self._origin = Activity(self._manners.knobs), self._now
        # 3) What nobody will ask for is forgotten
        self._forget_before(self._turn_from if self._turn_from is not None else self._now - KEPT_SECONDS)

    async def events(self) -> AsyncGenerator[TalkEvent, None]:
        """Yield what happens until the talk is closed: turns, and the pipeline's events of each reply."""
        while (event := await self._events.get()) is not None:
            yield event

    async def close(self) -> None:
        """End the talk, and the reply under way: what of it was said is remembered."""
        await self._break_off()
        self._events.put_nowait(None)

    @property
    def _now(self) -> float:
        return self._sound_at + len(self._sound) / BYTES_A_SECOND

    @property
    def _replying(self) -> bool:
        """Return whether a reply is written, or still to be heard."""
        running = self._answering is not None and not self._answering.done()
        return running or asyncio.get_running_loop().time() < self._plays_until

    async def _end(self, start: float, end: float) -> None:
        """Answer what was said from `start` to `end`, unless it was too short to break off the reply under way."""
        self._turn_from = None
        if self._replying:
            return
        self._events.put_nowait(TurnEnded(start, end))
        padded = end + self._manners.knobs.prefix_padding_duration
        recording = self._unanswered + self._between(start, min(padded, self._now))
        self._unanswered = b""
        self._spoke = False
        self._answering = asyncio.create_task(self._answer(recording))

    async def _interrupt(self) -> None:
        """Break off the reply: no more of it is made, and its sound that waits to be read is thrown away."""
        await self._break_off()
        waiting = [self._events.get_nowait() for _ in range(self._events.qsize())]
        for event in waiting:
            if not isinstance(event, Spoken):
                self._events.put_nowait(event)
        self._plays_until = 0.0
        self._events.put_nowait(Interrupted())

    async def _break_off(self) -> None:
        if self._answering is not None and not self._answering.done():
            self._answering.cancel()
            await asyncio.wait([self._answering])

    async def _answer(self, recording: bytes) -> None:
        """Hand on the events of a reply, its sound when it is due."""
        try:
            async with aclosing(self._reply(AudioPart(recording, PCM))) as events:
                async for event in events:
                    if isinstance(event, Spoken) and event.audio is not None:
                        await self._until_due(event.audio.seconds)
                    self._events.put_nowait(event)
        except asyncio.CancelledError:
            if not self._spoke:
                self._unanswered = recording[-int(self._manners.max_turn_duration) * BYTES_A_SECOND :]
            raise
        except Jc1Error as error:
            self._events.put_nowait(Failed(error))
        except Exception:
            log.exception("a turn of a talk failed")
            self._events.put_nowait(Failed(SpeechFailed("The turn failed: see the log, or say it again.")))

    async def _until_due(self, seconds: float) -> None:
        """Return when the listener is about to need the next sound, of so many seconds."""
        loop = asyncio.get_running_loop()
        ahead = self._plays_until - loop.time() - self._manners.lead
        if ahead > 0:
            await asyncio.sleep(ahead)
        self._spoke = True
        self._plays_until = max(self._plays_until, loop.time()) + seconds

    def _between(self, start: float, end: float) -> bytes:
        first, last = (2 * int((second - self._sound_at) * HEARING_RATE) for second in (start, end))
        return bytes(self._sound[max(first, 0) : max(last, 0)])

    def _forget_before(self, second: float) -> None:
        count = 2 * int((second - self._sound_at) * HEARING_RATE)
        if count > 0:
            del self._sound[:count]
            self._sound_at += count / BYTES_A_SECOND
