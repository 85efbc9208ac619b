"""The shipped jc1-tiny-draft: its tokenizer, its card, that the card's figures are true, and how it was taught."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import torch

from experiments.tiny.acceptance import WANTED, acceptance, write_draft_card
from experiments.tiny.model import Llama, Size, read, save
from experiments.tiny.tokenizer import Encoder
from experiments.tiny.train import Plan, train
from jc1.models import BUNDLED

TINY, DRAFT = BUNDLED / "jc1-tiny", BUNDLED / "jc1-tiny-draft"
SMALL = Size(layers=4, width=64, heads=2, inner=64)


def test_it_reads_as_the_model_does_and_is_smaller() -> None:
    for name in ("tokenizer.model", "tokenizer.json", "chat_template.jinja"):
        assert (DRAFT / name).read_bytes() == (TINY / name).read_bytes()
    assert 2 * (DRAFT / "model.safetensors").stat().st_size < (TINY / "model.safetensors").stat().st_size


def test_the_card_is_what_the_figures_say(tmp_path: Path) -> None:
    folder = shutil.copytree(DRAFT, tmp_path / "draft")
    write_draft_card(folder, json.loads((DRAFT / "figures.json").read_text()))
    assert (folder / "README.md").read_text() == (DRAFT / "README.md").read_text()


def test_measuring_a_part_of_the_set_again_gives_nearly_the_figures_of_the_card() -> None:
    stated = json.loads((DRAFT / "figures.json").read_text())
    measured = acceptance(TINY, DRAFT, dialogues=6)
    assert measured["handwritten"]["acceptance"] == stated["handwritten"]["acceptance"]
    assert measured["told"]["acceptance"] >= WANTED
    assert stated["told"]["acceptance"] >= WANTED


def test_a_model_that_was_written_is_read_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Llama(SMALL)
    save(model, tmp_path, bos=1, eos=(2,), pad=2, training={"step": 0, "tokens": 0})
    again = read(tmp_path)
    assert again.size == SMALL
    assert all(torch.equal(weight, again.get_parameter(name)) for name, weight in model.named_parameters())


def test_a_draft_starts_from_layers_spread_over_the_models_depth() -> None:
    torch.manual_seed(0)
    model, draft = Llama(SMALL), Llama(replace(SMALL, layers=2))
    draft.take_from(model)
    assert torch.equal(draft.model.embed_tokens.weight, model.model.embed_tokens.weight)
    for own, source in ((0, 0), (1, 2)):
        weight = draft.model.layers[own].mlp.up_proj.weight
        assert torch.equal(weight, model.model.layers[source].mlp.up_proj.weight)


def test_a_draft_comes_to_say_what_its_teacher_says(tmp_path: Path) -> None:
    """To this teacher all tokens are alike, and so they are to the draft, whatever the text says."""
    torch.manual_seed(0)
    teacher = Llama(SMALL)
    with torch.no_grad():
        teacher.model.norm.weight.zero_()  # all logits are equal: every token is as likely
    lines: list[str] = []
    plan = replace(Plan(), minutes=1e9, tokens=1e9, batch=300, batches_in_pool=3)
    encoder = Encoder(TINY / "tokenizer.model")
    student, _ = train(
        tmp_path, encoder, plan, replace(SMALL, layers=2), say=lines.append, stop_after=20, teacher=teacher
    )
    loss = float(lines[0].split("loss ")[1].split()[0])
    assert abs(loss - torch.tensor(SMALL.vocabulary).log().item()) < 0.05
    assert student.model.norm.weight.abs().max() < 0.05
