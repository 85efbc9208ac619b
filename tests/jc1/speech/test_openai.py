"""Hearing and speaking at an OpenAI-compatible server: what it is asked, and what becomes of its failures."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest
from starlette.responses import Response

from jc1.errors import Jc1Error, SpeechFailed, SpeechUnavailable
from jc1.speech.base import Audio, Hearing
from jc1.speech.openai import OpenAISynthesizer, OpenAITranscriber
from jc1.speech.piper import Piper
from jc1.speech.whisper import Whisper
from tests.support import sounds
from tests.support.speech_server import SpeechServer, refusal, serving


@pytest.fixture
def server(whisper: Whisper, piper: Piper) -> Iterator[SpeechServer]:
    with serving(SpeechServer(whisper, piper)) as running:
        yield running


@pytest.fixture
def ears(server: SpeechServer) -> Iterator[OpenAITranscriber]:
    client = OpenAITranscriber(server.url, "whisper-1", "sk-secret")
    yield client
    client.close()


@pytest.fixture
def voice(server: SpeechServer) -> Iterator[OpenAISynthesizer]:
    client = OpenAISynthesizer(server.url, "tts-1", "alloy")
    yield client
    client.close()


@pytest.fixture(scope="module")
def sentence(say: Callable[[str], Audio]) -> Audio:
    return say("The weather is fine today.")


def test_what_is_asked_for_reaches_the_server(server: SpeechServer, ears: OpenAITranscriber, sentence: Audio) -> None:
    hearing = Hearing(language="en", prompt="Weather", temperature=0.4, words=True)
    (segment,) = ears.transcribe(sentence, hearing)
    assert "weather" in segment.text
    assert segment.words
    (asked,) = server.asked
    assert asked == {
        "model": "whisper-1",
        "language": "en",
        "prompt": "Weather",
        "temperature": "0.4",
        "response_format": "verbose_json",
        "granularities": ["segment", "word"],
    }
    assert server.keys == ["Bearer sk-secret"]


def test_a_server_that_gives_text_alone_is_asked_so_from_then_on(
    server: SpeechServer, ears: OpenAITranscriber, sentence: Audio
) -> None:
    server.segments = False
    for _ in range(2):
        (segment,) = ears.transcribe(sentence, Hearing(words=True))
        assert sounds.plain_words(segment.text) == ["the", "weather", "is", "fine", "today"]
        assert segment.words == ()
        assert 0 <= segment.start < segment.end <= sentence.seconds + 0.01
    assert [asked["response_format"] for asked in server.asked] == ["verbose_json", "json", "json"]


def test_silence_is_not_sent(server: SpeechServer, ears: OpenAITranscriber) -> None:
    assert list(ears.transcribe(sounds.silence(2.0), Hearing())) == []
    assert server.asked == []


def test_the_usual_voice_speaks_where_none_is_named(server: SpeechServer, voice: OpenAISynthesizer) -> None:
    assert list(voice.synthesize("Yes.", speed=1.5))
    assert list(voice.synthesize("Yes.", voice="nova"))
    assert [asked["voice"] for asked in server.asked] == ["alloy", "nova"]
    assert server.asked[0] == {
        "input": "Yes.", "model": "tts-1", "voice": "alloy", "speed": 1.5, "response_format": "pcm",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("failure", "error", "message"),
    [
        (refusal(400, "secret words"), SpeechFailed, "refused what it was asked"),
        (refusal(404, "secret words"), SpeechFailed, "it says 404"),
        (refusal(401, "secret words"), SpeechUnavailable, "does not take the key"),
        (refusal(429, "secret words"), SpeechUnavailable, "is not ready"),
        (refusal(503, "secret words"), SpeechUnavailable, "it says 503"),
        (Response("rubbish", 500), SpeechUnavailable, "it says 500"),
    ],
    ids=["400", "404", "401", "429", "503", "rubbish"],
)
def test_what_the_server_says_is_told_by_code_and_never_in_its_words(
    server: SpeechServer,
    ears: OpenAITranscriber,
    voice: OpenAISynthesizer,
    sentence: Audio,
    failure: Response,
    error: type[Jc1Error],
    message: str,
) -> None:
    server.failures = [failure, failure]  # a refused format is tried again as the simpler one
    with pytest.raises(error, match=message) as caught:
        list(ears.transcribe(sentence, Hearing()))
    assert "secret" not in caught.value.message
    server.failures = [failure]
    with pytest.raises(error, match=message):
        list(voice.synthesize("Yes."))


def test_a_server_that_is_not_there_is_told(sentence: Audio) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://user:password@127.0.0.1:{taken.getsockname()[1]}/v1"
    with pytest.raises(SpeechUnavailable, match="does not answer") as caught:
        list(OpenAITranscriber(url, "whisper-1").transcribe(sentence, Hearing()))
    assert "password" not in caught.value.message
    with pytest.raises(SpeechUnavailable, match="does not answer"):
        list(OpenAISynthesizer(url, "tts-1", "alloy").synthesize("Yes."))


def test_an_address_has_to_be_set() -> None:
    with pytest.raises(SpeechUnavailable, match="set transcriber_url"):
        OpenAITranscriber("", "whisper-1")
