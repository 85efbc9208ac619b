"""Vision-language models of three families, tiny and random: their folders are as those of trained ones.

Their weights are random but for one thing: what comes from a picture is scaled up, so that another picture gives other
tokens. The tokenizer of all of them has a token for each byte.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}"
    "{% if part.type == 'text' %}{{ part.text }}{% else %}PICTURE{% endif %}{% endfor %}"
    "{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ("<|pad|>", "<|im_start|>", "<|im_end|>")
TEXT = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 512, "pad_token_id": 0,
        "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
          "image_size": 28, "patch_size": 14}  # fmt: skip
LOUDER = 30.0
"""By how much what comes from a picture is scaled up."""


def llava(folder: Path) -> None:
    """Write a LLaVA: a CLIP tower and a Llama, four tokens a picture."""
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    tokenizer = _tokenizer(("<image>",), "<image>")
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION, projection_dim=32),
        text_config=LlamaConfig(vocab_size=len(tokenizer), **TEXT),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
    )
    pictures = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    processor = LlavaProcessor(
        pictures,
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=tokenizer.chat_template,
    )
    _save(LlavaForConditionalGeneration, config, folder, "model.multi_modal_projector.linear_2")
    _rename(folder / "model.safetensors", "vision_tower.", "vision_tower.vision_model.")
    processor.save_pretrained(folder)


def qwen(folder: Path) -> None:
    """Write a Qwen2.5-VL: as many tokens as a picture's size asks for, and places in three dimensions."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2VLImageProcessorPil

    marks = ("<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>")
    tokenizer = _tokenizer(marks, "<|vision_start|><|image_pad|><|vision_end|>")
    start, image, end, video = tokenizer.convert_tokens_to_ids(list(marks))
    config = Qwen2_5_VLConfig(
        vision_config={"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "patch_size": 14,
                       "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": 112, "out_hidden_size": 64,
                       "fullatt_block_indexes": [1]},
        text_config={**TEXT, "vocab_size": len(tokenizer),
                     "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 6, 6]}},
        image_token_id=image, video_token_id=video, vision_start_token_id=start, vision_end_token_id=end,
    )  # fmt: skip
    _save(Qwen2_5_VLForConditionalGeneration, config, folder, "model.visual.merger.mlp.2")
    tokenizer.save_pretrained(folder)
    # A processor with a part for videos cannot be made here to be saved; its files are as those on the hub.
    Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=28 * 28 * 16).save_pretrained(folder)
    _add(folder / "preprocessor_config.json", processor_class="Qwen2_5_VLProcessor")


def smolvlm(folder: Path) -> None:
    """Write an Idefics3, which SmolVLM is too: a picture whole and in pieces, each with its place in words."""
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3ImageProcessorPil,
        Idefics3Processor,
        LlamaConfig,
    )

    pieces = tuple(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7))
    marks = ("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *pieces)
    tokenizer = _tokenizer(marks, "<image>")
    config = Idefics3Config(
        vision_config=dict(VISION),
        text_config=LlamaConfig(vocab_size=len(tokenizer), **TEXT),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=1,
        pad_token_id=0,
    )
    pictures = Idefics3ImageProcessorPil(size={"longest_edge": 56}, max_image_size={"longest_edge": 28})
    _save(Idefics3ForConditionalGeneration, config, folder, "model.connector.modality_projection.proj")
    Idefics3Processor(pictures, tokenizer, image_seq_len=4, chat_template=tokenizer.chat_template).save_pretrained(
        folder
    )


FAMILIES: Mapping[str, Callable[[Path], None]] = {"llava": llava, "qwen": qwen, "smolvlm": smolvlm}


def _tokenizer(marks: tuple[str, ...], picture: str) -> Any:
    """Return a tokenizer whose template writes `picture` for one."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = [*SPECIAL, *marks]
    vocab = {token: i for i, token in enumerate([*special, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|im_end|>",
        chat_template=CHATML.replace("PICTURE", picture),
    )


def _save(kind: Any, config: Any, folder: Path, projector: str) -> None:
    """Save a random model whose projector from pictures to tokens is louder than chance makes it."""
    import torch

    torch.manual_seed(7)
    model = kind(config)
    with torch.no_grad():
        model.get_submodule(projector).weight *= LOUDER
    model.save_pretrained(folder)


def _rename(file: Path, prefix: str, other: str) -> None:
    """Spell the names of weights as models on the hub do and vLLM expects; transformers reads both."""
    from safetensors.torch import load_file, save_file

    weights = load_file(file)
    renamed = {name.replace(prefix, other) if name.startswith(prefix) else name: each for name, each in weights.items()}
    save_file(renamed, file, metadata={"format": "pt"})


def _add(file: Path, **fields: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))
