"""The processors of models that see, where torchvision is not installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from jc1.compat.processors import load_processor
from tests.support.vision_models import qwen


def test_a_processor_with_a_part_for_videos_is_made_without_it(tmp_path: Path) -> None:
    """The patch may go where transformers' own way no longer fails."""
    from transformers import AutoProcessor

    qwen(tmp_path)
    with pytest.raises(ImportError, match="Torchvision"):
        AutoProcessor.from_pretrained(tmp_path, local_files_only=True)
    processor = load_processor(tmp_path)
    assert (type(processor).__name__, processor.video_processor) == ("Qwen2_5_VLProcessor", None)
