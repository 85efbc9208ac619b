"""LoCoMo's format: its turns, its questions, and its dirty evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jc1_lab.suites.locomo import read


def conversation() -> dict[str, Any]:
    said = [
        ("Ann", "My cat is called Ada.", None),
        ("Ben", "Nice! I planted tomatoes yesterday.", "a photo of a garden"),
        ("Ann", "I am learning the cello.", None),
    ]
    later = [("Ben", "My brother moved to Lyon.", None), ("Ann", "The cello concert was on Friday.", None)]
    sessions = {
        f"session_{number}": [
            {"speaker": speaker, "dia_id": f"D{number}:{i}", "text": text, **({"blip_caption": seen} if seen else {})}
            for i, (speaker, text, seen) in enumerate(turns, 1)
        ]
        for number, turns in ((1, said), (2, later))
    }
    dates = {"session_1_date_time": "1:56 pm on 8 May, 2023", "session_2_date_time": "10:05 am on 9 June, 2023"}
    asked = [
        {"question": "What is Ann's cat called?", "evidence": ["D1:1"], "category": 4},
        {"question": "What has Ann to do with the cello?", "evidence": ["D1:03; D2:2"], "category": 1},
        {"question": "What was never said?", "evidence": ["D1:2"], "category": 5},
        {"question": "Where is no evidence?", "evidence": [], "category": 3},
        {"question": "Where does the evidence name nothing?", "evidence": ["D9:9"], "category": 3},
    ]
    return {"conversation": {"speaker_a": "Ann", "speaker_b": "Ben", **sessions, **dates}, "qa": asked}


def test_turns_have_speaker_caption_and_date_and_only_questions_that_can_be_answered_are_asked(tmp_path: Path) -> None:
    path = tmp_path / "locomo.json"
    path.write_text(json.dumps([conversation()]))
    (found,) = read(path)
    assert [said.turn for said in found.turns] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)]
    assert found.turns[1].text == "Nice! I planted tomatoes yesterday. [a photo of a garden]"
    assert found.turns[0].when.isoformat() == "2023-05-08T13:56:00+00:00"
    assert [(asked.category, asked.evidence) for asked in found.questions] == [
        (4, frozenset({(1, 1)})),
        (1, frozenset({(1, 3), (2, 2)})),
    ]
