"""Loads a model's processor where torchvision, which only its videos need, is not installed.

For transformers 5.19. A model's processor holds one for pictures, one for texts and, in Qwen2.5-VL, SmolVLM and others,
one for videos. That last one refuses to be made without torchvision, and the whole processor with it, though pictures
need nothing of it. No issue is known. The one on PyPI is built for CUDA and cannot load beside torch for the CPU
(`jc1.compat.torchvision`), so it is no part of JC1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

VIDEO = "video_processor"


def load_processor(folder: Path) -> Any:
    """Return the processor of a model's folder; one for videos is left out where it cannot be made.

    Raises:
        OSError: The folder holds no processor.
        ValueError: Likewise.
        ImportError: What it needs is not installed, and that is not for videos alone.
    """
    from transformers import AutoProcessor

    try:
        return AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except ImportError:
        return _without_videos(folder)


def _without_videos(folder: Path) -> Any:
    """Return the processor without its part for videos. Raises `ImportError` where it has none."""
    import transformers
    from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    kind = AutoConfig.from_pretrained(folder, **local).model_type
    whole = getattr(transformers, PROCESSOR_MAPPING_NAMES.get(kind, ""), None)
    if whole is None or set(whole.get_attributes()) != {"image_processor", "tokenizer", VIDEO}:
        raise ImportError(kind)

    def check(self: Any, name: str, part: Any) -> Any:
        return type(None) if name == VIDEO else whole.check_argument_for_proper_class(self, name, part)

    seeing: Any = type(whole.__name__, (whole,), {"check_argument_for_proper_class": check})
    parts = {
        "image_processor": AutoImageProcessor.from_pretrained(folder, **local),
        "tokenizer": AutoTokenizer.from_pretrained(folder, **local),
        VIDEO: None,
    }
    words, _ = whole.get_processor_dict(folder, **local)
    return seeing.from_args_and_dict([parts[name] for name in whole.get_attributes()], words)
