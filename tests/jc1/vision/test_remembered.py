"""What is kept of a picture: few bytes, words to find it by, and no secret of its address."""

from __future__ import annotations

import hashlib
from io import BytesIO

import pytest
from PIL import Image

from jc1.memory.pictures import MAX_THUMBNAIL
from jc1.vision.images import Picture
from jc1.vision.remembered import MAX_TEXT, remembered


def picture(width: int, height: int) -> Picture:
    noise = Image.effect_noise((width, height), 100).convert("RGB")
    return Picture(width, height, noise.tobytes())


def test_the_record_tells_what_was_read_and_where_it_is_from() -> None:
    record = remembered(b"a file", picture(900, 300), "a/b/receipt.png", "Total: 17.45 EUR", session="s", turn=3)
    assert record.text == "receipt.png, 900 x 300 pixels. Text in it:\nTotal: 17.45 EUR"
    assert (record.session, record.turn, record.kind, record.speaker) == ("s", 3, "statement", "picture")
    assert record.picture is not None
    assert record.picture.sha256 == hashlib.sha256(b"a file").hexdigest()
    assert (record.picture.width, record.picture.height, record.picture.source) == (900, 300, "receipt.png")


def test_one_without_name_and_text_says_so() -> None:
    record = remembered(b"", picture(64, 48), "", " ", session=None, turn=None)
    assert record.text == "A picture, 64 x 48 pixels, without text."


def test_a_long_text_is_cut() -> None:
    record = remembered(b"", picture(9, 9), "", "word " * MAX_TEXT, session=None, turn=None)
    assert len(record.text) < MAX_TEXT + 100


@pytest.mark.parametrize("size", [(4000, 3000), (20, 1000), (1, 1)])
def test_a_thumbnail_is_a_small_jpeg_whatever_the_picture(size: tuple[int, int]) -> None:
    seen = remembered(b"", picture(*size), "", "", session=None, turn=None).picture
    assert seen is not None
    assert len(seen.thumbnail) < MAX_THUMBNAIL
    small = Image.open(BytesIO(seen.thumbnail))
    assert (small.format, max(small.size)) == ("JPEG", min(256, max(size)))


def test_a_source_keeps_no_secret() -> None:
    seen = remembered(
        b"", picture(9, 9), "https://ann:pw@example.org:8443/a.png?token=1#x", "", session=None, turn=None
    )
    assert seen.picture is not None
    assert seen.picture.source == "https://example.org:8443/a.png"
    assert "token" not in seen.text
