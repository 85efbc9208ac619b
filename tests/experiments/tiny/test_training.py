"""The training: resumable to the bit, its network the one that transformers knows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from experiments.tiny.model import Llama, Size, save
from experiments.tiny.optimize import orthogonal
from experiments.tiny.tokenizer import Encoder
from experiments.tiny.train import Plan, State, load, rate, train
from jc1.models import BUNDLED

SMALL = Size(layers=2, width=64, heads=2, inner=64)
PLAN = replace(Plan(), minutes=1e9, tokens=1e9, batch=300, batches_in_pool=3)


@pytest.fixture
def encoder() -> Encoder:
    return Encoder(BUNDLED / "jc1-tiny" / "tokenizer.model")


def quiet(text: str) -> None:
    """Takes the lines of progress."""


def test_a_training_that_was_interrupted_goes_on_to_the_same_weights(encoder: Encoder, tmp_path: Path) -> None:
    whole, _ = train(tmp_path / "whole", encoder, PLAN, SMALL, say=quiet, stop_after=5)
    train(tmp_path / "halves", encoder, PLAN, SMALL, say=quiet, stop_after=2)
    halves, state = train(tmp_path / "halves", encoder, PLAN, SMALL, say=quiet, stop_after=5)
    assert state.step == 5
    for name, weight in halves.named_parameters():
        assert torch.equal(weight, whole.get_parameter(name)), name


def test_the_loss_falls(encoder: Encoder, tmp_path: Path) -> None:
    lines: list[str] = []
    train(tmp_path, encoder, PLAN, SMALL, say=lines.append, stop_after=100)
    losses = [float(line.split("loss ")[1].split()[0]) for line in lines if "loss" in line]
    assert losses[-1] < losses[0] - 0.3
    assert all("min left" in line for line in lines if "loss" in line)


def test_only_the_latest_checkpoint_is_kept_and_it_names_its_weights(encoder: Encoder, tmp_path: Path) -> None:
    train(tmp_path, encoder, PLAN, SMALL, say=quiet, stop_after=2)
    train(tmp_path, encoder, PLAN, SMALL, say=quiet, stop_after=3)
    assert [p.name for p in tmp_path.glob("step-*")] == ["step-3.safetensors"]
    assert json.loads((tmp_path / "checkpoint.json").read_text())["file"] == "step-3.safetensors"
    assert isinstance(load(tmp_path, Llama(SMALL)), State)


def test_the_exported_folder_gives_the_same_logits_in_transformers(tmp_path: Path) -> None:
    from transformers import LlamaForCausalLM

    torch.manual_seed(0)
    model = Llama(SMALL).eval()
    save(model, tmp_path, bos=1, eos=(2,), pad=2, training={"step": 0, "tokens": 0})
    other = LlamaForCausalLM.from_pretrained(str(tmp_path), local_files_only=True).eval()
    ids = torch.randint(0, SMALL.vocabulary, (2, 37))
    rows, columns = (t.flatten() for t in torch.meshgrid(torch.arange(2), torch.arange(37), indexing="ij"))
    with torch.no_grad():
        ours, theirs = model(ids, rows, columns), other(ids).logits.flatten(0, 1)
    assert F.mse_loss(ours, theirs) < 1e-9


def test_positions_with_gaps_move_only_what_comes_after_them() -> None:
    torch.manual_seed(0)
    model = Llama(SMALL).eval()
    ids, places = torch.randint(0, SMALL.vocabulary, (1, 20)), torch.arange(20)
    places[10:] += 500
    rows, columns = torch.zeros(20, dtype=torch.long), torch.arange(20)
    with torch.no_grad():
        plain, gapped = model(ids, rows, columns), model(ids, rows, columns, places)
    assert torch.allclose(plain[:10], gapped[:10], atol=1e-5)
    assert not torch.allclose(plain[10:], gapped[10:], atol=1e-3)


def test_the_update_of_a_matrix_is_nearly_orthogonal() -> None:
    torch.manual_seed(0)
    stack = torch.randn(3, 24, 64)
    values = torch.linalg.svdvals(orthogonal(stack))
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_the_rate_rises_stays_and_falls() -> None:
    assert rate(0.0, 0) < rate(0.0, 30) < rate(0.1, 60) == rate(0.34, 5000) == 1.0
    assert 0 < rate(0.99, 5000) < rate(0.7, 5000) < 1.0
