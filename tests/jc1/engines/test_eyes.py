"""Eyes: what a model's own processor makes of pictures, put into prompts that are tokenized as any other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from jc1.compat.processors import load_processor
from jc1.engines.eyes import Eyes, load_eyes, sees
from jc1.errors import InvalidRequest, UnsupportedImage
from jc1.vision.images import Picture


def picture(width: int, height: int, seed: int = 0) -> Picture:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Picture(width, height, pixels.tobytes())


PICTURES = [picture(60, 40), picture(50, 90, seed=1), picture(28, 28, seed=2)]


@pytest.mark.parametrize("pictures", [PICTURES[:1], PICTURES], ids=["one", "several"])
def test_prompts_and_features_are_those_of_the_models_own_processor(
    vision_model: Path, pictures: list[Picture]
) -> None:
    eyes = Eyes(vision_model)
    processor = load_processor(vision_model)
    mark = "<|vision_start|><|image_pad|><|vision_end|>" if "qwen" in vision_model.name else "<image>"
    text = "<|im_start|>user\nLook:" + "\n\n".join(f"{mark} ({i})" for i in range(len(pictures))) + "<|im_end|>\n"
    whole = processor(text=[text], images=[picture.image() for picture in pictures], return_tensors="pt")
    token_ids = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert eyes.expand(token_ids, pictures) == whole["input_ids"][0].tolist()
    features = eyes.features(token_ids, pictures)
    assert set(features) | {"input_ids", "attention_mask", "mm_token_type_ids"} == {*whole, "mm_token_type_ids"}
    for name, tensor in features.items():
        assert torch.equal(tensor, whole[name]), name
    taken = sum(eyes.count(each) for each in pictures)
    assert taken == whole["input_ids"].shape[1] - len(token_ids) + len(pictures)


def test_a_text_without_pictures_is_left_as_it_is(vision_model: Path) -> None:
    assert Eyes(vision_model).expand([5, 6, 7], []) == [5, 6, 7]


def test_a_template_that_has_no_place_for_a_picture_is_told(vision_model: Path) -> None:
    eyes = Eyes(vision_model)
    for token_ids, pictures in (([5, 6], PICTURES[:1]), ([eyes.placeholder], []), ([eyes.placeholder], PICTURES)):
        with pytest.raises(InvalidRequest, match="no place for one of the pictures"):
            eyes.expand(token_ids, pictures)


def test_a_picture_of_a_shape_that_a_processor_refuses_is_refused_by_its_size(vision_models: dict[str, Path]) -> None:
    eyes = Eyes(vision_models["qwen"])
    with pytest.raises(UnsupportedImage, match="9000 x 1 pixels"):
        eyes.expand([eyes.placeholder], [picture(9000, 1)])


def test_a_model_of_text_alone_has_no_eyes_and_one_without_its_processor_none_that_work(
    vision_models: dict[str, Path], tmp_path: Path
) -> None:
    assert not sees({"model_type": "llama"})
    assert load_eyes(tmp_path, {"model_type": "llama"}) is None
    config = json.loads((vision_models["llava"] / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert sees(config)
    assert load_eyes(tmp_path, config) is None
