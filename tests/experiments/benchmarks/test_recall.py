"""The measurement of recall: the format, its dirty evidence, what counts, and all ways of searching side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.benchmarks import recall
from experiments.benchmarks.recall import Measured, Question, read
from jc1.memory.index.ranking import WEIGHTS

ABLATIONS = tuple(f"jc1 without {name}" for name in WEIGHTS)
NAMES = ("jc1", "jc1 with stopwords", *ABLATIONS, "bm25", "dense", "plain fusion", "chroma")


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


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "locomo.json"
    path.write_text(json.dumps([conversation()]))
    return path


def test_turns_have_speaker_caption_and_date_and_only_questions_that_can_be_answered_are_asked(data: Path) -> None:
    (found,) = read(data)
    assert [said.turn for said in found.turns] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)]
    assert found.turns[1].text == "Nice! I planted tomatoes yesterday. [a photo of a garden]"
    assert found.turns[0].when.isoformat() == "2023-05-08T13:56:00+00:00"
    assert [(asked.category, asked.evidence) for asked in found.questions] == [
        (4, frozenset({(1, 1)})),
        (1, frozenset({(1, 3), (2, 2)})),
    ]


def test_recall_counts_distinct_turns_in_the_order_in_which_they_came() -> None:
    measured = Measured()
    found = [(1, 1), (1, 1), (2, 2), *((3, i) for i in range(9)), (4, 4)]
    measured.add(Question("", 1, frozenset({(2, 2), (4, 4), (5, 5), (3, 2)})), found)
    measured.add(Question("", 4, frozenset({(9, 9)})), [])
    figures = measured.figures()
    assert figures["recall@5"] == 0.25  # (2, 2) is second and (3, 2) fifth, of four wanted and of one
    assert figures["recall@10"] == 0.25
    assert (figures["hit@10"], figures["mrr"], figures["questions"]) == (0.5, 0.25, 2)
    assert figures["by_category"]["1 multi-hop"]["mrr"] == 0.5
    assert "2 temporal" not in figures["by_category"]


def test_every_way_of_searching_is_measured_on_the_same_questions(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["recall", "--data", str(data), "--json"])
    recall.main()
    results = json.loads(capsys.readouterr().out)["results"]
    assert tuple(results) == NAMES
    for name in NAMES:
        assert results[name]["questions"] == 2
        # Ten of five turns: whatever has a vector or a word in common is found.
        assert results[name]["recall@10"] == 1.0
    assert results["jc1"]["ms_p50"].keys() == {"ingest a turn", "embed", "recall"}

    monkeypatch.setattr("sys.argv", ["recall", "--data", str(data), "--k", "1"])
    recall.main()
    shown = capsys.readouterr().out
    assert all(name in shown for name in NAMES)
    assert "wanted: recall@10 of 0.80" in shown
