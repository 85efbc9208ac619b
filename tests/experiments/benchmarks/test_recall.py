"""The measurement of recall: what counts, and all ways of searching side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.benchmarks import recall
from experiments.benchmarks.recall import Measured
from jc1.memory.index.ranking import WEIGHTS
from jc1_lab.suites.locomo import Question
from tests.experiments.suites.test_locomo import conversation

ABLATIONS = tuple(f"jc1 without {name}" for name in WEIGHTS)
NAMES = ("jc1", "jc1 with stopwords", *ABLATIONS, "bm25", "dense", "plain fusion", "chroma")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "locomo.json"
    path.write_text(json.dumps([conversation()]))
    return path


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
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = recall.benchmark(data)
    assert tuple(results) == NAMES
    for name in NAMES:
        assert results[name]["questions"] == 2
        # Ten of five turns: whatever has a vector or a word in common is found.
        assert results[name]["recall@10"] == 1.0
    assert results["jc1"]["ms_p50"].keys() == {"ingest a turn", "embed", "recall"}
    shown = capsys.readouterr().err
    assert all(name in shown for name in NAMES)
    assert "wanted: recall@10 of 0.80" in shown
