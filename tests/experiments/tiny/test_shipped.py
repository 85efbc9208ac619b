"""The shipped jc1-tiny: its size, its card, and that the card's figures are true."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from experiments.tiny.card import write_card
from experiments.tiny.evaluate import FIGURES, HANDWRITTEN, Greedy, handwritten
from experiments.tiny.tokenizer import Encoder
from jc1.models import BUNDLED

TINY = BUNDLED / "jc1-tiny"


@pytest.fixture
def figures() -> dict[str, Any]:
    """The figures that the card states."""
    return json.loads((TINY / FIGURES).read_text())


def test_it_is_small_and_fits_every_engine() -> None:
    config = json.loads((TINY / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["max_position_embeddings"] == 2048
    assert config["head_dim"] % 32 == 0
    assert sum(f.stat().st_size for f in TINY.iterdir()) < 15e6


def test_the_card_is_what_the_figures_say(tmp_path: Path, figures: dict[str, Any]) -> None:
    folder = tmp_path / "jc1-tiny"
    shutil.copytree(TINY, folder)
    write_card(folder, figures)
    assert (folder / "README.md").read_text() == (TINY / "README.md").read_text()


def test_measuring_the_handwritten_set_again_gives_the_figure_of_the_card(figures: dict[str, Any]) -> None:
    measured = handwritten(Greedy(TINY, Encoder(TINY / "tokenizer.model")), Encoder(TINY / "tokenizer.model"))
    stated = figures["handwritten"]
    assert measured["items"] == stated["items"] >= 80
    # Another processor may round another way, and with it two or three replies of the hundred.
    assert abs(measured["right"] - stated["right"]) <= 0.03


def test_every_handwritten_item_asks_for_something_and_stands_once() -> None:
    items = [json.loads(line) for line in HANDWRITTEN.read_text(encoding="utf-8").splitlines()]
    assert [item["id"] for item in items] == list(range(1, len(items) + 1))
    asked = {json.dumps({k: v for k, v in item.items() if k != "id"}, sort_keys=True) for item in items}
    assert len(asked) == len(items)
    assert all(item["question"] and item["expect"] for item in items)
