"""Spoken turns: recordings in, replies read out, through the same path as every other request."""

from __future__ import annotations

import asyncio
import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from jc1 import Message, Settings, Workbench
from jc1.engines.echo import EchoEngine
from jc1.errors import AudioTooLong, InvalidRequest, Jc1Error, NoSpeech, SpeechFailed, SpeechUnavailable, UnknownVoice
from jc1.messages import TextPart
from jc1.reply import Done, Event, Heard, Recalled, Spoken, Token
from jc1.speech.base import Audio, Hearing, Segment, Speaking, Synthesizer, Transcriber
from jc1.speech.piper import Piper
from jc1.speech.whisper import Whisper
from tests.support import sounds
from tests.support.speech import Borrowed, lend, samples_of

SENTENCES = "My cat is called Ada. She sleeps all day. At night she walks about."


class Breaking:
    """A voice that says one sentence and breaks at the second."""

    name = model = "breaking"
    voices = ("breaking",)
    language = "en"
    rate = 16_000

    def __init__(self) -> None:
        self.said = 0

    def load(self) -> None:
        pass

    def synthesize(self, text: str, *, voice: str | None = None, speed: float = 1.0) -> Iterator[Audio]:
        self.said += 1
        if self.said > 1:
            raise SpeechFailed("The voice broke.")
        yield Audio(np.ones(160, np.float32), self.rate)

    def close(self) -> None:
        pass


class Waiting(Borrowed):
    """Ears that wait within their first segment until they may go on."""

    def __init__(self, model: Transcriber) -> None:
        super().__init__(model)
        self.hears, self.may_go_on, self.closed = threading.Event(), threading.Event(), threading.Event()

    def transcribe(self, audio: Audio, hearing: Hearing) -> Iterator[Segment]:
        try:
            self.hears.set()
            self.may_go_on.wait(30)
            yield from self._model.transcribe(audio, hearing)
        finally:
            self.closed.set()


@pytest.fixture
async def workbench(home: Path, whisper: Whisper, piper: Piper) -> AsyncIterator[Workbench]:
    """A workbench with the echo engine, real memory, ears and voice; those are the session's."""
    async with speaking_workbench(home, whisper, piper) as bench:
        yield bench


def speaking_workbench(home: Path, ears: Transcriber, voice: Synthesizer, **settings: float) -> Workbench:
    return lend(Workbench.open(Settings(home=home, engine="echo", **settings)), ears, voice)  # type: ignore[arg-type]


async def collect(bench: Workbench, message: str | Message, **options: object) -> list[Event]:
    messages = message if isinstance(message, str) else [message]
    return [event async for event in bench.pipeline.stream(messages, **options)]  # type: ignore[arg-type]


def kinds(events: list[Event]) -> list[type[Event]]:
    """Return the kinds of the events, each run of one kind once."""
    found = [type(event) for event in events]
    return [kind for kind, before in zip(found, [None, *found], strict=False) if kind is not before]


async def test_a_recording_is_heard_recalled_answered_read_out_and_remembered(
    workbench: Workbench, say: Callable[[str], Audio]
) -> None:
    asked = Message.user((samples_of(say("The weather is fine today.")),))
    events = await collect(workbench, asked, session="s", voice=Speaking())
    assert kinds(events)[:3] == [Heard, Recalled, Token]
    heard, done = events[0], events[-1]
    assert isinstance(heard, Heard)
    assert isinstance(done, Done)
    assert sounds.plain_words(heard.transcript.text) == ["the", "weather", "is", "fine", "today"]
    assert done.reply.text == heard.transcript.text  # the echo engine repeats what it reads
    spoken = [event for event in events if isinstance(event, Spoken)]
    assert "".join(event.text for event in spoken) == done.reply.text
    assert sum(event.audio.seconds for event in spoken if event.audio) > 0.8
    (turn,) = workbench.sessions.history("local", "s", limit=5)
    assert (turn.user, turn.reply, turn.cancelled) == (done.reply.text, done.reply.text, False)
    assert [record.text for record in workbench.memory.list("local").records] == [done.reply.text] * 2
    trace = done.reply.trace
    assert next(iter(trace.stages)) == "hear"
    assert list(trace.stages)[-2:] == ["speak", "remember"]
    assert 0 < trace.first_token <= trace.first_audio <= trace.total  # type: ignore[operator]


async def test_a_request_of_text_has_neither_stage(workbench: Workbench) -> None:
    events = await collect(workbench, "Hello.")
    done = events[-1]
    assert isinstance(done, Done)
    assert not {"hear", "speak"} & set(done.reply.trace.stages)
    assert done.reply.trace.first_audio is None
    assert {Heard, Spoken} & set(kinds(events)) == set()


async def test_text_beside_a_recording_is_kept(workbench: Workbench, say: Callable[[str], Audio]) -> None:
    asked = Message.user((TextPart("Write this down:"), samples_of(say("The weather is fine today."))))
    reply = await workbench.pipeline.chat([asked], memory="off")
    assert reply.text.startswith("Write this down:\n")
    assert "weather" in reply.text


async def test_recordings_of_earlier_turns_are_heard_too(workbench: Workbench, say: Callable[[str], Audio]) -> None:
    earlier = Message.user((samples_of(say("The weather is fine today.")),))
    events = [
        event async for event in workbench.pipeline.stream([earlier, Message.assistant("Yes."), Message.user("Go on.")])
    ]
    done = events[-1]
    assert isinstance(done, Done)
    assert "hear" in done.reply.trace.stages
    assert Heard not in kinds(events)  # it is not what is answered now
    assert done.reply.trace.usage.prompt_tokens > len("The weather is fine today.")


async def test_openais_form_of_a_recording_is_taken(workbench: Workbench) -> None:
    data = b64encode(sounds.JFK.read_bytes()).decode()
    asked = {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": data, "format": "ogg"}}]}
    reply = await workbench.pipeline.chat([asked], memory="off")
    assert sounds.word_error_rate(sounds.JFK_TEXT, reply.text) <= 0.05
    asked["content"][0]["input_audio"]["data"] = "no base64!"  # type: ignore[index]
    with pytest.raises(InvalidRequest, match="base64"):
        await workbench.pipeline.chat([asked])


@pytest.mark.parametrize("quiet", [sounds.silence(1.0), sounds.noise(2.0, "pink"), sounds.music(2.0)])
async def test_where_nobody_speaks_the_engine_is_not_asked_and_nothing_is_stored(
    workbench: Workbench, quiet: Audio
) -> None:
    with pytest.raises(NoSpeech):
        await collect(workbench, Message.user((samples_of(quiet),)), session="s")
    (trace,) = workbench.telemetry.recent.list()
    assert (trace.outcome, trace.first_token, list(trace.stages)) == ("no_speech", None, ["hear"])
    assert not workbench.sessions.history("local", "s", limit=5)
    assert not workbench.memory.list("local").records


async def test_recordings_are_no_longer_than_allowed_in_all(home: Path, whisper: Whisper, piper: Piper) -> None:
    second = samples_of(sounds.noise(1.0, "white"))
    async with speaking_workbench(home, whisper, piper, max_audio_seconds=1.5) as bench:
        with pytest.raises(AudioTooLong, match=r"1\.5 seconds"):
            await collect(bench, Message.user((samples_of(sounds.silence(2.0)),)))
        with pytest.raises(AudioTooLong, match=r"0\.5 seconds"):
            await collect(bench, Message.user((second, second)))


async def test_only_a_user_can_send_a_samples_of(workbench: Workbench) -> None:
    said = Message("assistant", (samples_of(sounds.silence(1.0)),))
    with pytest.raises(InvalidRequest, match="Only a user's message"):
        await workbench.pipeline.chat([said, Message.user("Go on.")])


@pytest.mark.parametrize(
    ("speaking", "error"),
    [(Speaking(voice="nobody"), UnknownVoice), (Speaking(speed=9), InvalidRequest)],
    ids=["voice", "speed"],
)
async def test_a_voice_that_cannot_be_had_is_refused_before_anything_is_done(
    workbench: Workbench, speaking: Speaking, error: type[Jc1Error]
) -> None:
    with pytest.raises(error):
        await collect(workbench, "Hello.", voice=speaking, session="s")
    assert not workbench.sessions.history("local", "s", limit=5)


async def test_without_ears_or_voice_text_is_answered_and_speech_is_refused_by_name(home: Path) -> None:
    async with Workbench.open(Settings(home=home, engine="echo", transcriber="none", synthesizer="none")) as bench:
        assert (await bench.pipeline.chat("Hello.")).text == "Hello."
        with pytest.raises(SpeechUnavailable, match="Nothing here hears"):
            await collect(bench, Message.user((samples_of(sounds.silence(1.0)),)))
        with pytest.raises(SpeechUnavailable, match="Nothing here speaks"):
            await collect(bench, "Hello.", voice=Speaking())


async def test_who_leaves_while_the_reply_is_read_out_has_it_remembered_as_far_as_it_was_said(
    workbench: Workbench,
) -> None:
    async with aclosing(workbench.pipeline.stream(SENTENCES, session="s", voice=Speaking())) as events:
        async for event in events:
            if isinstance(event, Spoken):
                break
    await workbench.pipeline.drain()
    (turn,) = workbench.sessions.history("local", "s", limit=5)
    assert (turn.user, turn.reply, turn.cancelled) == (SENTENCES, "My cat is called Ada. ", True)
    assert isinstance(workbench.engine, EchoEngine)
    assert workbench.engine.active == 0
    (trace,) = workbench.telemetry.recent.list()
    assert trace.outcome == "cancelled"


async def test_who_leaves_before_a_word_was_heard_leaves_nothing(home: Path, whisper: Whisper, piper: Piper) -> None:
    ears = Waiting(whisper)
    async with speaking_workbench(home, ears, piper) as bench:
        hearing = asyncio.create_task(collect(bench, Message.user((samples_of(sounds.silence(1.0)),)), session="s"))
        assert await asyncio.to_thread(ears.hears.wait, 30)
        hearing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hearing
        ears.may_go_on.set()
        await bench.pipeline.drain()
        assert not bench.sessions.history("local", "s", limit=5)
        assert not bench.memory.list("local").records
    assert await asyncio.to_thread(ears.closed.wait, 30)  # it heard the segment under way, and no other


async def test_a_voice_that_breaks_costs_nobody_the_reply(home: Path, whisper: Whisper) -> None:
    async with speaking_workbench(home, whisper, Breaking()) as bench:
        events = await collect(bench, SENTENCES, session="s", voice=Speaking())
        done = events[-1]
        assert isinstance(done, Done)
        assert done.reply.text == SENTENCES
        assert len([event for event in events if isinstance(event, Spoken)]) == 1
        assert [(notice.code, notice.message) for notice in done.reply.trace.notices] == [
            ("speech_failed", "The voice broke.")
        ]
        (turn,) = bench.sessions.history("local", "s", limit=5)
        assert (turn.reply, turn.cancelled) == (SENTENCES, False)


async def test_what_cannot_be_said_is_passed_over_and_still_belongs_to_the_reply(workbench: Workbench) -> None:
    events = await collect(workbench, "Look: 😀\n***\nThat is all.", voice=Speaking(), memory="off")
    spoken = [event for event in events if isinstance(event, Spoken)]
    assert "".join(event.text for event in spoken) == "Look: 😀\n***\nThat is all."
    assert [event.text for event in spoken if event.audio is None] == ["***\n"]


async def test_a_language_that_nobody_here_understands_is_refused(workbench: Workbench) -> None:
    with pytest.raises(Jc1Error, match="'de'"):
        await collect(workbench, Message.user((samples_of(sounds.silence(1.0)),)), hearing=Hearing(language="de"))
