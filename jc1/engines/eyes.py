"""A model's eyes: what its own processor makes of pictures, as tokens in the prompt and as tensors beside it.

Knows processors of transformers: sizes, cuts and the number of tokens are theirs. A template writes one placeholder for
each picture, and here what the processor writes in its place is put there, so that a prompt is tokenized as any other
and its pictures count as what they take. Knows nothing about weights, or about where pictures come from.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jc1.errors import InvalidRequest, UnsupportedImage

if TYPE_CHECKING:
    from torch import Tensor

    from jc1.vision.images import Picture

log = logging.getLogger(__name__)

KINDS = "mm_token_type_ids"
"""The input of a model that tells tokens of pictures (1) from those of text (0); some ask for it."""
OF_TEXT = ("input_ids", "attention_mask", KINDS)
"""What a processor gives besides what belongs to the pictures themselves."""
MOST_SIZES = 512
"""Sizes of pictures whose tokens are remembered."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a processor writes in the place of one picture: token ids, and the kind of each."""

    token_ids: tuple[int, ...]
    kinds: tuple[int, ...]


class Eyes:
    """The processor of a model folder."""

    def __init__(self, folder: Path) -> None:
        """Load it.

        Raises:
            OSError: The folder holds no processor, or none for pictures.
            ValueError, TypeError, ImportError, AttributeError: Likewise.
        """
        from jc1.compat.processors import load_processor

        self._processor: Any = load_processor(folder)
        self.placeholder = int(self._processor.image_token_id)
        """The token that a template writes for a picture."""
        self.mark = str(self._processor.image_token)
        """The same as text."""
        self._places: dict[tuple[int, int], Place] = {}

    def expand(self, token_ids: Sequence[int], pictures: Sequence[Picture]) -> list[int]:
        """Return the ids of a prompt with each picture's tokens in the place of its placeholder.

        Raises:
            InvalidRequest: The model's template has not one place for each picture.
            UnsupportedImage: The processor cannot look at a picture of that shape.
        """
        return [token for place in self._expanded(token_ids, pictures) for token in place.token_ids]

    def count(self, picture: Picture) -> int:
        """Return how many tokens a picture takes. Raises what `expand` does."""
        return len(self._place(picture).token_ids)

    def features(self, token_ids: Sequence[int], pictures: Sequence[Picture]) -> dict[str, Tensor]:
        """Return what the model is given beside the ids of `expand`, by the names of its arguments, for a batch of one.

        Takes and raises what `expand` does.
        """
        import torch

        made = self._look(pictures)
        features = {name: value for name, value in made.items() if name not in OF_TEXT}
        if KINDS in made:
            kinds = [kind for place in self._expanded(token_ids, pictures) for kind in place.kinds]
            features[KINDS] = torch.tensor([kinds])  # (1, tokens)
        return features

    def _expanded(self, token_ids: Sequence[int], pictures: Sequence[Picture]) -> Iterator[Place]:
        """Yield the prompt piece by piece: runs of text, and places of pictures."""
        left = list(pictures)
        if sum(token == self.placeholder for token in token_ids) != len(left):
            raise InvalidRequest(
                "The model's chat template has no place for one of the pictures: send pictures in a user's message.",
                param="messages",
            )
        for token in token_ids:
            yield self._place(left.pop(0)) if token == self.placeholder else Place((token,), (0,))

    def _place(self, picture: Picture) -> Place:
        """Return what stands for a picture. Every processor that is known goes by its size alone."""
        size = picture.width, picture.height
        if size not in self._places:
            made = self._look([picture])
            ids = made["input_ids"][0].tolist()
            kinds = made[KINDS][0].tolist() if KINDS in made else [0] * len(ids)
            if len(self._places) >= MOST_SIZES:
                self._places.pop(next(iter(self._places)), None)
            self._places[size] = Place(tuple(ids), tuple(kinds))
        return self._places[size]

    def _look(self, pictures: Sequence[Picture]) -> Any:
        """Return what the processor makes of pictures, with a text of their placeholders alone."""
        text = self._processor.image_token * len(pictures)
        try:
            return self._processor(
                text=[text],
                images=[picture.image() for picture in pictures],
                return_tensors="pt",
                add_special_tokens=False,
            )
        except ValueError:
            log.info("a processor refused a picture", exc_info=True)
            shapes = ", ".join(f"{picture.width} x {picture.height}" for picture in pictures)
            raise UnsupportedImage(
                f"This model cannot look at a picture of {shapes} pixels: send one that is less long or less small.",
                param="messages",
            ) from None


def sees(config: dict[str, Any]) -> bool:
    """Return whether a model's config.json describes one that is shown pictures and replies in text."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    return config.get("model_type") in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES and "vision_config" in config


def load_eyes(folder: Path, config: dict[str, Any]) -> Eyes | None:
    """Return the eyes of a model; none where it has none, or they cannot be loaded, which the log tells."""
    if not sees(config):
        return None
    try:
        return Eyes(folder)
    except (OSError, ValueError, TypeError, ImportError, AttributeError):
        log.exception("the processor of %s cannot be loaded: it will not see", folder.name)
        return None
