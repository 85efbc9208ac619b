"""`jc1 hear`, `speak` and `talk`: recordings written down, texts read out, and both around one message.

Knows files of sound and what is printed beside them. Knows nothing about how anything is heard or said.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jc1 import interrupts
from jc1.cli.chat import Line
from jc1.cli.options import Flags, Home, Json, Owner, print_json, settings_of, with_engine

if TYPE_CHECKING:
    from jc1.messages import AudioPart
    from jc1.settings import Settings
    from jc1.speech.base import Audio

SUFFIXES = {".ogg": "opus"}
"""Names of files whose format OpenAI names otherwise; the other suffixes are the format."""

Recording = Annotated[Path, typer.Argument(metavar="FILE", help="wav, flac, mp3, ogg, m4a, webm or aac.")]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="File to write: .wav, .mp3, .flac, .ogg, .opus, .aac or .pcm.")
]
Voice = Annotated[str | None, typer.Option(help="Who speaks.", show_default="the synthesizer's first")]
Speed = Annotated[float, typer.Option(help="From 0.25 to 4.")]
Language = Annotated[str | None, typer.Option(help="What is spoken, as ISO 639-1.", show_default="found")]


def hear(
    file: Recording,
    language: Language = None,
    prompt: Annotated[str | None, typer.Option(help="What was said before, or names that come.")] = None,
    words: Annotated[bool, typer.Option("--words", help="Find each word's place (in --json).")] = False,
    translate: Annotated[bool, typer.Option("--translate", help="Write English, whatever is spoken.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Write down what is said in a recording, as it is heard."""
    from dataclasses import asdict

    from jc1.speech import create_transcriber
    from jc1.speech.base import Hearing, Segment, Transcript
    from jc1.speech.hear import language_of, sound_of

    settings = settings_of(home=home)
    hearing = Hearing(language, prompt, words=words, translate=translate)
    segments: list[Segment] = []
    with closing(create_transcriber(settings)) as ears, Line() as line:
        audio = sound_of(_recording(file, settings), settings)
        for segment in ears.transcribe(audio, hearing):
            segments.append(segment)
            if not as_json:
                line.write(segment.text if len(segments) > 1 else segment.text.lstrip())
        transcript = Transcript.of(segments, duration=audio.seconds, language=language_of(ears, hearing))
    if as_json:
        print_json(asdict(transcript))
    elif not segments:
        print("jc1: nobody speaks in this recording", file=sys.stderr)


def speak(
    text: Annotated[str, typer.Argument(help="What to say; '-' reads it from standard input.")],
    output: Output,
    voice: Voice = None,
    speed: Speed = 1.0,
    home: Home = None,
) -> None:
    """Read a text out into a file."""
    from jc1.speech import create_synthesizer
    from jc1.speech.aloud import read
    from jc1.speech.base import Speaking

    form = _format_of(output)
    with closing(create_synthesizer(settings_of(home=home))) as synthesizer:
        said = sys.stdin.read() if text == "-" else text
        seconds = _write(output, form, synthesizer.rate, read(synthesizer, said, Speaking(voice, speed)))
    print(f"spoken: {seconds:.1f} s to {output}")


@with_engine
def talk(
    flags: Flags,
    file: Recording,
    output: Output,
    session: Annotated[str | None, typer.Option(help="Conversation to continue; new names begin one.")] = None,
    owner: Owner = None,
    no_memory: Annotated[bool, typer.Option("--no-memory", help="Neither recall nor remember.")] = False,
    preset: Annotated[str | None, typer.Option(help="Preset or alias to use.", show_default="default")] = None,
    language: Language = None,
    voice: Voice = None,
    speed: Speed = 1.0,
    as_json: Json = False,
) -> None:
    """Say a recording to the model: print both sides, and write its voice into a file."""
    from jc1.messages import Message
    from jc1.reply import Done, Heard, Spoken, Token
    from jc1.speech.base import Hearing, Speaking
    from jc1.sync import SyncPipeline

    form = _format_of(output)
    settings = settings_of(**flags)
    recording = _recording(file, settings)
    heard: list[str] = []
    with Line() as line, SyncPipeline(settings) as pipeline, interrupts.as_usual():
        events = pipeline.stream(
            [Message.user((recording,))],
            owner=owner,
            session=session,
            memory="off" if no_memory else "on",
            preset=preset,
            hearing=Hearing(language),
            voice=Speaking(voice, speed),
        )

        def sound() -> Iterator[Audio]:
            """Yield what is said, and print what is written meanwhile."""
            for event in events:
                match event:
                    case Heard(transcript):
                        heard.append(transcript.text)
                        if not as_json:
                            print(f"> {transcript.text}", flush=True)
                    case Token(text=text) if not as_json:
                        line.write(text)
                    case Spoken(audio=audio) if audio is not None:
                        yield audio
                    case Done(reply):
                        line.end()
                        if as_json:
                            trace = reply.trace.to_dict()
                            print_json({"heard": "\n".join(heard), "text": reply.text, "trace": trace})
                        for notice in reply.trace.notices:
                            print(f"jc1: {notice.message} [{notice.code}]", file=sys.stderr)

        _write(output, form, pipeline.workbench.voice.rate, sound())


def _recording(file: Path, settings: Settings) -> AudioPart:
    """Return a file as a part of a message. Raises `InvalidRequest` or `RequestTooLarge`."""
    from jc1.errors import InvalidRequest, RequestTooLarge
    from jc1.messages import AudioPart

    most = settings.max_audio_bytes
    try:
        with file.open("rb") as opened:
            data = opened.read(most + 1)
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be read ({error.strerror}): see that it is there and yours.") from None
    if len(data) > most:
        raise RequestTooLarge(f"{file} has more than {most:,} bytes: shorten it, or raise max_audio_bytes.")
    return AudioPart(data, f"audio/{file.suffix.lstrip('.') or 'wav'}")


def _format_of(file: Path) -> str:
    """Return the format that a file's name means. Raises `UnsupportedAudio`."""
    from jc1.errors import UnsupportedAudio
    from jc1.speech.encode import FORMATS

    form = SUFFIXES.get(file.suffix.lower(), file.suffix.lower().lstrip("."))
    if form not in FORMATS:
        known = ", ".join(f".{name}" for name in (*FORMATS, "ogg"))
        raise UnsupportedAudio(f"{file.name!r} names no format that is written: end it with {known}.")
    return form


def _write(file: Path, form: str, rate: int, sounds: Iterable[Audio]) -> float:
    """Write sound into a file as it is made; return its seconds. What breaks off leaves no file behind.

    Raises:
        StorageFull: The disk takes no more.
        InvalidRequest: The file cannot be written.
    """
    from jc1.speech.encode import Encoder

    part = file.with_name(f".{file.name}.part")
    seconds = 0.0
    try:
        with writable(file), part.open("wb") as out:
            encoder = Encoder(form, rate)
            for audio in sounds:
                seconds += audio.seconds
                out.write(encoder.add(audio))
            out.write(encoder.finish())
        with writable(file):
            part.replace(file)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return seconds


@contextmanager
def writable(file: Path) -> Iterator[None]:
    """Raise what the system says of a file that the body writes as JC1's errors."""
    from jc1.errors import InvalidRequest, StorageFull

    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise StorageFull(f"The disk takes no more of {file}: make room, or write elsewhere.") from None
        raise InvalidRequest(f"{file} cannot be written ({error.strerror}): choose another place.") from None
