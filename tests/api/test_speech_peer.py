"""One JC1 hears and speaks at another, as at any OpenAI-compatible server."""

from __future__ import annotations

from contextlib import closing

import pytest

from jc1.errors import SpeechFailed
from jc1.speech.base import Audio, Hearing, Transcript
from jc1.speech.openai import OpenAISynthesizer, OpenAITranscriber
from tests.api.conftest import Server
from tests.support import sounds


def test_what_is_said_is_written_down_there_with_the_places_of_words(speech_server: Server, jfk: Audio) -> None:
    with closing(OpenAITranscriber(f"{speech_server.url}/v1", speech_server.workbench.ears.model)) as ears:
        segments = list(ears.transcribe(jfk, Hearing(words=True)))
    heard = Transcript.of(segments, duration=jfk.seconds, language="en")
    assert sounds.word_error_rate(sounds.JFK_TEXT, heard.text) <= 0.05
    assert heard.language == "en"
    words = [word for segment in segments for word in segment.words]
    assert words[0].start < words[-1].end <= jfk.seconds + 0.5


def test_what_is_to_be_said_is_said_there(speech_server: Server) -> None:
    voice = speech_server.workbench.voice
    with closing(OpenAISynthesizer(f"{speech_server.url}/v1", voice.model, voice.voices[0])) as synthesizer:
        sound = sounds.resampled(sounds.joined(list(synthesizer.synthesize("The weather is fine today."))))
        heard = speech_server.workbench.ears.transcribe(sound, Hearing())
        assert "weather" in "".join(segment.text for segment in heard)
        with pytest.raises(SpeechFailed, match="it says 40"):
            list(synthesizer.synthesize("Yes.", voice="nobody"))
