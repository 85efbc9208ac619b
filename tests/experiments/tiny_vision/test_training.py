"""The training: resumable to the bit, its network the one that transformers knows."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from experiments.tiny.model import Llama, Size, read
from experiments.tiny.tokenizer import Encoder
from experiments.tiny_vision.batches import Example, collate, example
from experiments.tiny_vision.card import WANTED, table, verdict
from experiments.tiny_vision.evaluate import HANDMADE, Case, Greedy, drawings, handmade, scores
from experiments.tiny_vision.export import save
from experiments.tiny_vision.model import TowerSize, Vision
from experiments.tiny_vision.questions import CANNOT_TELL, SKILLS
from experiments.tiny_vision.train import Plan, State, load, look, most, optimizers, rate, started, train
from jc1.engines.settings import EngineSettings
from jc1.engines.transformers.engine import TransformersEngine
from jc1.messages import ImagePart, Message, TextPart
from jc1.models import BUNDLED
from jc1.prompt import DEFAULT_SYSTEM, build
from jc1.vision.images import Picture

TINY = BUNDLED / "jc1-tiny"
LANGUAGE = Size(layers=2, width=64, heads=2, inner=64)
TOWER = TowerSize(width=64, layers=1, heads=2, inner=64)
PLAN = replace(Plan(), pictures=11, pool=12, look_batch=4, batch=4, look=0.1)
"""Two pools of looking, then talking."""


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(TINY / "tokenizer.model")


def small() -> Llama:
    torch.manual_seed(3)
    return Llama(LANGUAGE)


def quiet(text: str) -> None:
    """Takes the lines of progress."""


def test_a_training_that_was_interrupted_goes_on_to_the_same_weights(encoder: Encoder, tmp_path: Path) -> None:
    whole, _ = train(tmp_path / "whole", encoder, PLAN, small(), TOWER, say=quiet, stop_after=8)
    for stop in (2, 7, 8):  # while looking, while talking
        halves, state = train(tmp_path / "halves", encoder, PLAN, small(), TOWER, say=quiet, stop_after=stop)
    assert (state.step, state.talked) == (8, 2)
    for name, weight in halves.named_parameters():
        assert torch.equal(weight, whole.get_parameter(name)), name


def test_drawing_ahead_in_another_process_gives_the_same_weights(encoder: Encoder, tmp_path: Path) -> None:
    plain, _ = train(tmp_path / "plain", encoder, PLAN, small(), TOWER, say=quiet, stop_after=8)
    ahead, _ = train(tmp_path / "ahead", encoder, PLAN, small(), TOWER, say=quiet, stop_after=8, ahead=True)
    for name, weight in ahead.named_parameters():
        assert torch.equal(weight, plain.get_parameter(name)), name


def test_the_tower_learns_what_patches_show(encoder: Encoder) -> None:
    rng = random.Random(1)
    examples = [example(rng, 0.0, 0) for _ in range(16)]
    model = started(small(), TOWER)
    eyes, words = optimizers(model)
    state = State()
    losses = []
    for _ in range(40):
        losses.append(look(model, eyes, words, examples, encoder, replace(PLAN, warm_up=5), state)[0])
        state.step += 1
    assert losses[-1] < 0.6 * losses[0]


def test_only_the_latest_checkpoint_is_kept_and_it_names_its_weights(encoder: Encoder, tmp_path: Path) -> None:
    train(tmp_path, encoder, PLAN, small(), TOWER, say=quiet, stop_after=1)
    train(tmp_path, encoder, PLAN, small(), TOWER, say=quiet, stop_after=2)
    assert [p.name for p in tmp_path.glob("step-*")] == ["step-2.safetensors"]
    assert json.loads((tmp_path / "checkpoint.json").read_text())["file"] == "step-2.safetensors"
    assert isinstance(load(tmp_path, started(small(), TOWER)), State)
    assert load(tmp_path / "nothing", started(small(), TOWER)) is None


def test_a_question_is_answered_the_same_whatever_else_is_asked_about_the_picture(encoder: Encoder) -> None:
    model = started(small(), TOWER).eval()
    one = example(random.Random(2), 0.5)
    assert len(one.questions) > 3

    def logits(batch_of: Example) -> tuple[torch.Tensor, list[tuple[int, int, str]]]:
        batch = collate([batch_of], encoder, model.image_token, TOWER.patches)
        features = model.vision_tower(batch.pixels)
        with torch.no_grad():
            return model(
                batch.head, batch.ids, features, batch.places, batch.mask, batch.rows, batch.columns
            ), batch.spans

    together, spans = logits(one)
    for question, (start, stop, _) in zip(one.questions, spans, strict=True):
        alone, _ = logits(Example(one.pixels, one.labels, (question,)))
        assert torch.allclose(alone, together[start:stop], atol=1e-4)


def test_a_second_question_of_a_conversation_sees_the_first(encoder: Encoder) -> None:
    class Always(random.Random):
        def random(self) -> float:
            return 0.0

    one = example(random.Random(2), 0.5)
    batch = collate([one], encoder, 1024, TOWER.patches, Always())
    used = int((batch.places[0] > 0).sum())
    assert torch.equal(
        batch.places[0, :used], torch.arange(used) + len(batch.head)
    )  # one branch: positions without a break
    assert batch.mask[0, 0, used - 1, :used].all()
    assert int((batch.ids[0] == encoder.roles["user"]).sum()) == len(one.questions)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Vision, Path]:
    """An untrained model around the shipped language half, and its folder."""
    torch.manual_seed(0)
    model = started(read(TINY), TOWER).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half().float())  # as the file stores them
    folder = tmp_path_factory.mktemp("exported")
    save(model, folder, TINY, {"looked_at": 0, "talked_about": 0})
    return model, folder


def test_the_exported_folder_gives_the_same_logits_in_transformers(
    exported: tuple[Vision, Path], encoder: Encoder
) -> None:
    model, folder = exported
    hub = Greedy(folder)
    one = example(random.Random(4), 1.0)
    question = one.questions[0]
    from PIL import Image

    inputs = hub.processor(
        text=hub.prompt(question.text),
        images=[Image.fromarray(one.pixels)],
        return_tensors="pt",
        add_special_tokens=False,
    )
    batch = collate([Example(one.pixels, one.labels, (question,))], encoder, model.image_token, TOWER.patches)
    shared, length = len(batch.head), inputs["input_ids"].shape[1]
    assert inputs["input_ids"][0].tolist() == [*batch.head.tolist(), *batch.ids[0, : length - shared].tolist()]
    assert torch.equal(inputs["pixel_values"], batch.pixels)
    columns = torch.arange(length - shared)
    rows = torch.zeros_like(columns)
    with torch.no_grad():
        features = model.vision_tower(batch.pixels)
        ours = model(batch.head, batch.ids, features, batch.places, batch.mask, rows, columns)
        theirs = hub.model(**inputs).logits[0, shared:]
    assert torch.allclose(ours, theirs, atol=1e-3)


def test_the_exported_folder_is_small_and_named_as_vllm_reads_it(exported: tuple[Vision, Path]) -> None:
    from safetensors import safe_open

    _, folder = exported
    with safe_open(folder / "model.safetensors", "pt") as weights:
        names = set(weights.keys())
    assert all(n.startswith(("vision_tower.vision_model.", "multi_modal_projector.", "language_model.")) for n in names)
    assert sum(f.stat().st_size for f in folder.iterdir()) < 20e6


def test_a_message_s_picture_stands_before_its_words_in_whichever_order_they_came(
    exported: tuple[Vision, Path],
) -> None:
    hub = Greedy(exported[1])
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image"}]
    render = hub.processor.apply_chat_template
    one, other = (render([{"role": "user", "content": content}], tokenize=False) for content in (parts, parts[::-1]))
    assert one == other == "<s><|user|><image>What is this?<|end|>"


def test_the_measurement_runs_on_the_exported_folder(exported: tuple[Vision, Path]) -> None:
    cases = [*drawings(1), *drawings(1, elsewhere=True, skills=("shape",))]
    replies = Greedy(exported[1]).replies(cases, new_tokens=2)
    measured = scores(cases, replies)
    assert set(SKILLS) <= set(measured)
    assert measured["cannot_tell_recall"]["share"] == 0.0  # it is untrained


def test_scores_count_exact_answers_and_how_well_it_is_known_what_cannot_be_told() -> None:
    def case(skill: str, *answers: str) -> Case:
        return Case(drawings(1, skills=("shape",))[0].picture, skill, "?", answers)

    cases = [case("colour", "Red.")] * 6 + [case("cannot_tell", CANNOT_TELL)] * 4
    replies = ["Red."] * 4 + ["Blue.", CANNOT_TELL] + [CANNOT_TELL] * 3 + ["Red."]
    measured = scores(cases, replies)
    assert measured["colour"]["share"] == pytest.approx(4 / 6, abs=1e-3)
    assert measured["colour"]["low"] < 4 / 6 < measured["colour"]["high"]
    assert measured["cannot_tell_precision"]["share"] == 0.75
    assert measured["cannot_tell_recall"]["share"] == 0.75


def test_the_card_says_what_was_not_reached() -> None:
    def share(value: float) -> dict[str, float]:
        return {"share": value, "low": value - 0.01, "high": value + 0.01, "cases": 300}

    good = {skill: share(0.97) for skill in (*SKILLS, "all", "cannot_tell_precision", "cannot_tell_recall")}
    figures = {name: dict(good) for name in ("drawings", "new_wordings", "other_library", "hand_made")}
    assert verdict(figures) == "All that was wanted is reached."
    assert table(figures).count("0.970 (0.96-0.98)") == 4 * (len(WANTED) + 4)
    figures["drawings"]["count"] = share(0.89)
    figures["other_library"]["all"] = share(0.8)
    assert "Not reached: count, other library" in verdict(figures)


def test_hand_made_pictures_ask_every_skill_and_each_has_an_answer() -> None:
    cases = handmade()
    assert {c.skill for c in cases} == set(SKILLS)
    assert len(cases) >= 90
    assert all(c.answers and all(c.answers) for c in cases)
    ids = [json.loads(line)["id"] for line in HANDMADE.read_text(encoding="utf-8").splitlines()]
    assert ids == list(range(1, len(ids) + 1))


def test_talking_begins_with_single_things() -> None:
    plan = replace(Plan(), look=0.2)
    assert [most(progress, plan) for progress in (0.0, 0.19, 0.2, 0.23, 0.3, 1.0)] == [6, 6, 1, 2, 6, 6]


def test_the_rate_rises_stays_and_falls() -> None:
    assert rate(0.0, 0, 60) < rate(0.0, 30, 60) < rate(0.1, 60, 60) == rate(0.49, 5000, 60) == 1.0
    assert 0 < rate(0.99, 5000, 60) < rate(0.7, 5000, 60) < 1.0


async def test_jc1_gives_the_exported_folder_the_prompt_that_it_was_trained_on(
    exported: tuple[Vision, Path], encoder: Encoder
) -> None:
    model, folder = exported
    one = example(random.Random(4), 1.0)
    question = one.questions[0]
    picture = Picture(one.pixels.shape[1], one.pixels.shape[0], one.pixels.tobytes())
    asked = Message.user((TextPart(question.text), ImagePart(picture=picture)))
    messages = build(DEFAULT_SYSTEM, (), asked, (), count=lambda messages: 0, budget=1024).messages
    engine = TransformersEngine(EngineSettings(model=str(folder)))
    await engine.start()
    try:
        assert engine.capabilities.sees
        tokens = list(engine.tokenize(messages))
    finally:
        await engine.close()
    batch = collate([Example(one.pixels, one.labels, (question,))], encoder, model.image_token, TOWER.patches)
    trained = [*batch.head.tolist(), *batch.ids[0].tolist()]
    assert tokens == trained[: len(tokens)]
    assert trained[len(tokens) :] == [*encoder.text(question.answer), encoder.end]
