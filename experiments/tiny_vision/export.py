"""Writes the trained model as a folder that transformers, vLLM and JC1 load: LLaVA's configuration, weights, processor.

Knows file formats. Knows nothing about training. Weights are stored as float16, which halves the file; the
configuration says float32, which both engines then compute in, so that they give the same tokens.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from experiments.tiny.tokenizer import BOS, END, EOS, ROLE_TOKENS
from experiments.tiny_vision.model import Vision, exported

IMAGE = "<image>"
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] in ('image', 'image_url') %}{{ '<image>' }}{% endif %}"
    "{% endfor %}{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{{ '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
"""jc1-tiny's, with the pictures of a message before its words, in whichever order they were sent: as in training."""
HALF, WHOLE = 0.5, 1 / 255
"""Mean and standard deviation of pixels as the tower takes them, and what they are scaled by before."""


def save(model: Vision, folder: Path, language: Path, training: dict[str, float]) -> None:
    """Write the model into `folder`. `language` is jc1-tiny's folder; `training` says how long the training took."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    _json(folder / "config.json", configuration(model))
    generation = {
        "bos_token_id": 1,
        "eos_token_id": [6, 2],
        "pad_token_id": 2,
        "do_sample": False,
        "max_new_tokens": 64,
    }
    _json(folder / "generation_config.json", generation)
    _tokenizer(language, folder, model.image_token)
    _processor(model, folder)
    weights = {name: w.to(torch.float16).contiguous() for name, w in exported(model).items()}
    file = folder / "model.safetensors"
    save_file(weights, str(file), metadata={"format": "pt", "training": json.dumps(training)})
    file.chmod(0o644)  # it is written for its owner alone


def configuration(model: Vision) -> dict[str, Any]:
    """Return LLaVA's configuration of the model."""
    tower, size = model.tower_size, model.size
    return {
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "image_token_index": model.image_token,
        "image_seq_length": tower.patches,
        "projector_hidden_act": "gelu",
        "multimodal_projector_bias": True,
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full",
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": [6, 2],
        "pad_token_id": 2,
        "dtype": "float32",
        "vision_config": {
            "model_type": "siglip_vision_model",
            "image_size": tower.side,
            "patch_size": tower.patch,
            "num_channels": 3,
            "hidden_size": tower.width,
            "intermediate_size": tower.inner,
            "num_hidden_layers": tower.layers,
            "num_attention_heads": tower.heads,
            "hidden_act": "gelu_pytorch_tanh",
            "layer_norm_eps": tower.epsilon,
            "attention_dropout": 0.0,
            "vision_use_head": False,
        },
        "text_config": {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": size.vocabulary,
            "hidden_size": size.width,
            "intermediate_size": size.inner,
            "num_hidden_layers": size.layers,
            "num_attention_heads": size.heads,
            "num_key_value_heads": size.heads,
            "head_dim": size.width // size.heads,
            "hidden_act": "silu",
            "max_position_embeddings": size.positions,
            "rms_norm_eps": size.epsilon,
            "rope_parameters": {"rope_type": "default", "rope_theta": size.theta},
            "attention_bias": False,
            "mlp_bias": False,
            "attention_dropout": 0.0,
            "tie_word_embeddings": True,
            "bos_token_id": 1,
            "eos_token_id": [6, 2],
            "pad_token_id": 2,
            "dtype": "float32",
        },
    }


def _tokenizer(language: Path, folder: Path, image_token: int) -> None:
    """Copy jc1-tiny's tokenizer with one more token, `<image>`, which its SentencePiece form has no place for."""
    tokenizer = json.loads((language / "tokenizer.json").read_text())
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tokenizer["added_tokens"].append({"id": image_token, "content": IMAGE, **flags})
    _json(folder / "tokenizer.json", tokenizer, indent=None)
    _json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": BOS,
            "eos_token": END,
            "unk_token": "<unk>",
            "pad_token": EOS,
            "image_token": IMAGE,
            "additional_special_tokens": [*ROLE_TOKENS.values(), IMAGE],
            "clean_up_tokenization_spaces": False,
            "model_max_length": 2048,
            "model_input_names": ["input_ids", "attention_mask"],
            "processor_class": "LlavaProcessor",
        },
    )
    (folder / "chat_template.jinja").write_text(TEMPLATE)


def _processor(model: Vision, folder: Path) -> None:
    """Write how pictures are made ready: to RGB, to the tower's size whatever their own, to -1..1."""
    side = {"height": model.tower_size.side, "width": model.tower_size.side}
    pictures = {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": side,
        "resample": 3,  # bicubic
        "do_center_crop": False,
        "crop_size": side,
        "do_rescale": True,
        "rescale_factor": WHOLE,
        "do_normalize": True,
        "image_mean": [HALF] * 3,
        "image_std": [HALF] * 3,
    }
    _json(folder / "preprocessor_config.json", {**pictures, "processor_class": "LlavaProcessor"})
    _json(
        folder / "processor_config.json",
        {
            "processor_class": "LlavaProcessor",
            "image_token": IMAGE,
            "patch_size": model.tower_size.patch,
            "num_additional_image_tokens": 0,
            "vision_feature_select_strategy": "full",
            "image_processor": pictures,
        },
    )


def _json(file: Path, content: dict[str, Any], indent: int | None = 2) -> None:
    file.write_text(json.dumps(content, indent=indent, ensure_ascii=False) + "\n")
