"""Where somebody speaks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from jc1.speech.activity import (
    WINDOW,
    Activity,
    Knobs,
    SpeechEnded,
    SpeechProbability,
    SpeechStarted,
    stretches,
    windows,
)
from jc1.speech.base import Audio
from tests.support import sounds


def test_a_sentence_between_silences_is_one_stretch_at_its_place(say: Callable[[str], Audio]) -> None:
    spoken = say("The weather is fine today.")
    sound = sounds.joined([sounds.silence(1.0), spoken, sounds.silence(1.5)])
    ((start, end),) = stretches(sound)
    assert 0.5 < start < 1.2
    assert 0.7 + spoken.seconds - 0.6 < end < 1.0 + spoken.seconds + 0.5


def test_a_pause_parts_two_stretches_which_do_not_overlap(say: Callable[[str], Audio]) -> None:
    spoken = say("The weather is fine today.")
    found = stretches(sounds.joined([spoken, sounds.silence(1.2), spoken, sounds.silence(1.0)]))
    assert len(found) == 2
    assert found[0][0] < found[0][1] <= found[1][0] < found[1][1]


@pytest.mark.parametrize("seconds", [0.0, 0.01, 3.0])
def test_nobody_speaks_in_silence(seconds: float) -> None:
    assert stretches(sounds.silence(seconds)) == []


def test_speech_that_the_recording_cuts_off_ends_with_it(jfk: Audio) -> None:
    cut = Audio(jfk.samples[: int(1.9 * jfk.rate)], jfk.rate)
    assert stretches(cut)[-1][1] == pytest.approx(1.9, abs=0.04)


@pytest.mark.parametrize("size", [1, 160, WINDOW, 1600])
def test_pieces_of_any_size_are_heard_as_the_whole_is(jfk: Audio, size: int) -> None:
    samples = jfk.samples[: 160 * 40]
    whole = SpeechProbability().feed(samples)
    pieces = SpeechProbability()
    fed = [pieces.feed(samples[at : at + size]) for at in range(0, len(samples), size)]
    np.testing.assert_allclose(np.concatenate(fed), whole, atol=1e-5)
    assert len(whole) == len(samples) // WINDOW


def test_a_start_is_told_before_the_speaker_ends_and_an_end_when_he_is_silent(say: Callable[[str], Audio]) -> None:
    activity = Activity(Knobs(min_silence_duration=0.3))
    assert activity.feed(sounds.silence(0.5).samples) == []
    first = activity.feed(say("The weather is fine today.").samples)
    assert isinstance(first[0], SpeechStarted)
    assert not activity.speaking or activity.feed(sounds.silence(1.0).samples)
    assert not activity.speaking
    assert activity.finish() == []


def test_the_knobs_decide_what_is_too_short_to_be_speech(say: Callable[[str], Audio]) -> None:
    word = sounds.joined([say("No."), sounds.silence(1.0)])
    assert len(stretches(word)) == 1
    assert stretches(word, Knobs(min_speech_duration=5.0)) == []


def test_an_end_tells_the_stretch_and_its_padding(say: Callable[[str], Audio]) -> None:
    sound = sounds.joined([sounds.silence(1.0), say("The weather is fine today."), sounds.silence(1.0)])
    starts = []
    for padding in (0.0, 0.5):
        ends = [
            e
            for e in Activity(Knobs(prefix_padding_duration=padding)).feed(sound.samples)
            if isinstance(e, SpeechEnded)
        ]
        starts.append(ends[0].start)
    assert starts[0] - starts[1] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("spoken", "heard"),
    [
        ([], []),
        ([(0.0, 2.0), (2.5, 4.0)], [(0.0, 4.0)]),  # near each other: at once
        ([(0.0, 2.0), (6.0, 7.0)], [(0.0, 2.0), (6.0, 7.0)]),  # a silence in which a model invents
        ([(0.0, 20.0), (20.5, 30.0)], [(0.0, 20.0), (20.5, 30.0)]),  # too long together
        ([(0.0, 56.0)], [(0.0, 28.0), (28.0, 56.0)]),  # nobody takes a breath
    ],
)
def test_stretches_are_heard_together_while_they_are_near_and_short(
    spoken: list[tuple[float, float]], heard: list[tuple[float, float]]
) -> None:
    assert windows(spoken, longest=28.0, gap=3.0) == heard
