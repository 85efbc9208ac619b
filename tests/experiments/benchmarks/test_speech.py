"""The measurement of speech: how far texts are apart, how loud a disturbance is, and that the figures come out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.benchmarks import speech
from experiments.benchmarks.sounds import babble, mixed, music, noise, silence, word_error_rate, word_errors


@pytest.mark.parametrize(
    ("expected", "heard", "errors"),
    [
        ("The cat sleeps.", "the cat sleeps", 0),
        ("It costs 20 dollars.", "It costs twenty dollars", 0),
        ("Ann's cat", "Anns cat", 0),
        ("the cat sleeps", "the hat sleeps", 1),
        ("the cat sleeps", "cat sleeps all day", 3),
        ("the cat", "", 2),
        ("", "the cat", 2),
    ],
)
def test_word_errors_are_insertions_deletions_and_replacements_of_plain_words(
    expected: str, heard: str, errors: int
) -> None:
    assert word_errors(expected, heard)[0] == errors


def test_the_rate_is_over_the_words_that_were_expected() -> None:
    assert word_error_rate("one two three four", "one two three") == 0.25


@pytest.mark.parametrize("decibels", [20, 0])
def test_a_disturbance_is_mixed_at_its_distance_from_the_speech(decibels: float) -> None:
    tone = music(2.0)
    disturbed = mixed(tone, noise(2.1, "white"), decibels)
    rest = disturbed.samples - tone.samples
    ratio = np.sqrt(np.mean(tone.samples**2) / np.mean(rest**2))
    assert 20 * np.log10(ratio) == pytest.approx(decibels, abs=0.5)


def test_babble_is_as_long_as_asked_for_and_louder_than_silence() -> None:
    voices = [noise(0.5, "pink", seed=seed) for seed in range(3)]
    assert babble(voices, 2.0).seconds == pytest.approx(2.0)
    assert np.abs(babble(voices, 2.0).samples).max() > 0.05
    assert not silence(1.0).samples.any()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_parts_are_measured(tmp_path: Path) -> None:
    data = tmp_path / "xquad.json"
    asked = ["Who lives in the old mill?", "Where does the owl sleep?"]
    paragraphs = [{"context": "", "qas": [{"question": question} for question in asked]}]
    data.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    figures = speech.measure(data, questions=2, noisy=1, turns=1, only=["errors", "noise", "factors", "turns", "end"])
    assert figures["questions"]["words"] == 11
    assert figures["turns"]["jc1-tiny"]["turns"] == 1
    assert set(figures["in_noise"]) == {f"{kind}_{db}_db" for kind in ("white", "babble") for db in (20, 10, 5)}
    assert figures["end_of_speech"]["noticed"] == 1
    assert figures["real_time_factor"]["speaking"] > 0
