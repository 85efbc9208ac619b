"""`jc1 hear`, `speak` and `talk`, with the models that come with the packages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jc1.cli.speech import writable
from jc1.errors import StorageFull
from jc1.speech.piper import Piper
from jc1.speech.whisper import Whisper
from tests.support import sounds
from tests.support.cli import Run
from tests.support.speech import Borrowed


@pytest.fixture(autouse=True)
def _loaded(whisper: Whisper, piper: Piper, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every command have the models that are loaded already, unless its settings name others."""
    import jc1.speech

    monkeypatch.setitem(jc1.speech.TRANSCRIBERS, "whisper", lambda _: Borrowed(whisper))  # type: ignore[arg-type]
    monkeypatch.setitem(jc1.speech.SYNTHESIZERS, "piper", lambda _: Borrowed(piper))  # type: ignore[arg-type]


def test_hear_prints_what_is_said_or_all_that_is_known_of_it(jc1: Run) -> None:
    heard = jc1("hear", str(sounds.JFK))
    assert heard.returncode == 0
    assert sounds.word_error_rate(sounds.JFK_TEXT, heard.stdout) <= 0.05
    told = json.loads(jc1("hear", str(sounds.JFK), "--words", "--json").stdout)
    assert told["duration"] == pytest.approx(11, abs=0.1)
    assert told["segments"][0]["words"][0]["text"].strip() == "And"


def test_speak_writes_what_hear_understands(jc1: Run, tmp_path: Path) -> None:
    for name in ("a.wav", "a.ogg", "a.mp3"):
        spoken = jc1("speak", "-", "-o", name, stdin="The weather is fine today.")
        assert spoken.returncode == 0, spoken.stderr
        assert spoken.stdout.endswith(f"s to {name}\n")
        assert "weather" in jc1("hear", name).stdout
    assert sorted(file.name for file in tmp_path.glob("*a.*")) == ["a.mp3", "a.ogg", "a.wav"]


def test_talk_answers_a_recording_in_words_and_sound_and_remembers_both(jc1: Run, tmp_path: Path) -> None:
    jc1("speak", "My cat is called Ada.", "-o", "asked.wav")
    talked = jc1("talk", "asked.wav", "-o", "reply.flac", "--session", "s")
    assert talked.returncode == 0, talked.stderr
    asked, replied = talked.stdout.splitlines()
    assert asked == f"> {replied}"  # the echo engine repeats what it reads
    assert sounds.read(tmp_path / "reply.flac").seconds > 0.8
    assert replied in jc1("memory", "list").stdout
    told = json.loads(jc1("talk", "asked.wav", "-o", "reply.flac", "--no-memory", "--json").stdout)
    assert told["heard"] == told["text"] == replied
    assert {"hear", "speak"} <= set(told["trace"]["stages"])


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("hear", "none.wav"), "invalid_request"),
        (("hear", "text.txt"), "unsupported_audio"),
        (("hear", "text.txt", "--language", "de"), "unsupported_audio"),
        (("speak", "Hello.", "-o", "a.doc"), "unsupported_audio"),
        (("speak", "Hello.", "-o", "no/such/folder/a.wav"), "invalid_request"),
        (("speak", "...", "-o", "a.wav"), "nothing_to_say"),
        (("speak", "Hello.", "-o", "a.wav", "--voice", "nobody"), "unknown_voice"),
        (("speak", "Hello.", "-o", "a.wav", "--speed", "9"), "invalid_request"),
        (("talk", "quiet.wav", "-o", "a.wav"), "no_speech"),
    ],
)
def test_what_cannot_be_done_is_one_line_with_its_code_and_leaves_no_file(
    jc1: Run, tmp_path: Path, arguments: tuple[str, ...], code: str
) -> None:
    from jc1.speech.encode import Encoder

    (tmp_path / "text.txt").write_text("no sound at all")
    encoder = Encoder("wav", 16_000)
    (tmp_path / "quiet.wav").write_bytes(encoder.add(sounds.silence(1.0)) + encoder.finish())
    done = jc1(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("jc1: ")
    assert done.stderr.endswith(f"[{code}]\n")
    assert not [file for file in tmp_path.iterdir() if file.name in ("a.wav", ".a.wav.part", "a.doc")]


def test_a_disk_that_takes_no_more_is_told() -> None:
    with pytest.raises(StorageFull, match=r"a\.wav"), writable(Path("a.wav")):
        Path("/dev/full").write_bytes(bytes(100))


def test_silence_is_told_on_standard_error(jc1: Run, tmp_path: Path) -> None:
    from jc1.speech.encode import Encoder

    encoder = Encoder("wav", 16_000)
    (tmp_path / "quiet.wav").write_bytes(encoder.add(sounds.silence(1.0)) + encoder.finish())
    heard = jc1("hear", "quiet.wav")
    assert (heard.returncode, heard.stdout) == (0, "")
    assert "nobody speaks" in heard.stderr


def test_the_doctor_says_who_hears_and_who_speaks(home: Path) -> None:
    from jc1.doctor import examine
    from jc1.settings import Settings

    def finding(**settings: str) -> dict[str, tuple[str, str]]:
        report = examine(Settings(home=home, engine="echo", **settings), probe=lambda _: "")  # type: ignore[arg-type]
        return {check["check"]: (check["state"], check["finding"]) for check in report["checks"]}

    usual = finding()
    assert usual["hearing"] == ("ok", "whisper-tiny.en on whisper, en")
    assert usual["speaking"] == ("ok", "en_US-joe-medium on piper, 22,050 Hz")
    without = finding(transcriber="none", synthesizer="none")
    assert without["hearing"][0] == without["speaking"][0] == "note"
