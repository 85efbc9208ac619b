"""Pictures as people and attackers send them: right to the pixel, or refused by name."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from jc1.confined import Reader
from jc1.errors import DamagedImage, InvalidRequest, RequestTooLarge, UnsupportedImage
from jc1.vision.images import Picture, decode, read_picture

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)
CAPS: dict[str, Any] = {"max_bytes": 20_000_000, "max_pixels": 50_000_000, "max_side": 2048}


def saved(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def halves(width: int = 40, height: int = 20, mode: str = "RGB") -> Image.Image:
    """Return a picture whose left half is red, its right half blue."""
    image = Image.new("RGB", (width, height), RED)
    ImageDraw.Draw(image).rectangle((width // 2, 0, width, height), fill=BLUE)
    return image.convert(mode)


def shown(data: bytes, **caps: int) -> Picture:
    """Return the picture, read in this process, where a hundred take no time."""
    head, pixels = decode(data, **{"max_pixels": 50_000_000, "max_side": 2048, **caps})
    return Picture(head["width"], head["height"], pixels)


def near(picture: Picture, x: int, y: int, colour: tuple[int, int, int], *, within: int = 12) -> bool:
    return bool(np.abs(picture.array()[y, x].astype(int) - colour).max() <= within)


def test_a_picture_is_read_in_a_process_of_its_own_to_the_pixel() -> None:
    picture = read_picture(saved(halves()), **CAPS)
    assert (picture.width, picture.height) == (40, 20)
    assert picture.image().tobytes() == halves().tobytes()
    assert shown(picture.encoded()) == picture


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF"])
def test_four_formats_are_read_whatever_they_are_called(form: str) -> None:
    picture = shown(saved(halves(), form))
    assert near(picture, 5, 10, RED, within=30)
    assert near(picture, 35, 10, BLUE, within=30)


@pytest.mark.parametrize("mode", ["P", "RGB", "RGBA"])
def test_every_way_of_writing_colours_shows_the_same(mode: str) -> None:
    picture = shown(saved(halves(mode=mode)))
    assert near(picture, 5, 10, RED)
    assert near(picture, 35, 10, BLUE)


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_greys_stay_greys(mode: str) -> None:
    picture = shown(saved(halves(mode=mode)))
    assert near(picture, 5, 10, (76, 76, 76))  # Rec. 601's luma of red
    assert near(picture, 35, 10, (29, 29, 29))


def test_one_bit_is_black_or_white() -> None:
    image = Image.new("1", (8, 8), 1)
    image.putpixel((2, 2), 0)
    assert near(shown(saved(image)), 0, 0, WHITE, within=0)
    assert near(shown(saved(image)), 2, 2, (0, 0, 0), within=0)


def test_sixteen_bits_of_grey_keep_their_upper_half() -> None:
    grey = np.linspace(0, 65535, 40).astype(np.uint16)
    row = shown(saved(Image.fromarray(np.tile(grey, (20, 1))))).array()[10]
    assert np.abs(row.astype(int) - (grey >> 8)[:, None]).max() <= 1


def test_sixteen_bits_of_colour_lose_their_lower_half() -> None:
    rows = b"".join(b"\0" + struct.pack(">3H", 0xFFFF, 0x8080, 0x0040) * 4 for _ in range(4))
    chunks = [(b"IHDR", struct.pack(">2I5B", 4, 4, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    assert near(shown(data), 2, 2, (255, 128, 0), within=1)


def test_a_print_shops_jpeg_shows_its_colours() -> None:
    for cmyk in (halves().convert("CMYK"), halves().convert("YCbCr")):
        picture = shown(saved(cmyk, "JPEG", quality=95))
        assert near(picture, 5, 10, RED, within=30)
        assert near(picture, 35, 10, BLUE, within=30)


def test_what_shows_through_is_white() -> None:
    clear = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
    clear.putpixel((2, 2), (255, 0, 0, 255))
    for picture in (shown(saved(clear)), shown(saved(clear, "WEBP", lossless=True)), shown(saved(clear, "GIF"))):
        assert near(picture, 8, 8, WHITE)
        assert near(picture, 2, 2, RED)
    half = Image.new("RGBA", (10, 10), (255, 0, 0, 128))
    assert near(shown(saved(half)), 5, 5, (255, 127, 127))
    assert near(shown(saved(halves(mode="P"), transparency=halves(mode="P").getpixel((2, 2)))), 5, 10, WHITE)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_as_its_camera_was_held(orientation: int) -> None:
    from PIL import ImageOps

    image = halves()
    ImageDraw.Draw(image).rectangle((0, 0, 9, 9), fill=WHITE)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(image, "PNG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert shown(data).image().tobytes() == expected.tobytes()
    assert shown(data).image().size == expected.size


def test_nothing_that_a_file_says_besides_its_pixels_is_passed_on() -> None:
    exif = Image.Exif()
    exif[0x010F] = "Camera of Someone"
    exif.get_ifd(0x8825)[2] = (52.0, 5.0, 0.0)
    data = saved(halves(), "JPEG", exif=exif, comment=b"at home")
    assert b"Camera of Someone" in data
    for media_type in ("image/jpeg", "image/png"):
        sent = read_picture(data, **CAPS).encoded(media_type)
        assert b"Camera" not in sent
        assert b"at home" not in sent
        assert not Image.open(io.BytesIO(sent)).getexif()


def test_exif_that_is_damaged_costs_nobody_the_picture() -> None:
    data = saved(halves(), "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + b"\xff" * 40)
    assert near(shown(data), 5, 10, RED)


def test_a_greater_picture_is_scaled_to_the_longest_side_that_is_set() -> None:
    for form in ("PNG", "JPEG"):
        picture = shown(saved(halves(3000, 1000), form), max_side=600)
        assert (picture.width, picture.height) == (600, 200)
        assert near(picture, 100, 100, RED, within=30)
    assert shown(saved(halves(3000, 1)), max_side=600).height == 1


def moving(form: str) -> bytes:
    frames = [halves(), halves().rotate(180)]
    return saved(frames[0], form, save_all=True, append_images=frames[1:], duration=100)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_refused_by_name(form: str) -> None:
    with pytest.raises(UnsupportedImage, match="animated"):
        shown(moving(form))


def test_of_a_cameras_two_views_the_first_is_the_picture() -> None:
    data = saved(halves(), "MPO", save_all=True, append_images=[halves().rotate(180)])
    assert near(shown(data), 5, 10, RED, within=30)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (saved(halves(), "BMP"), "BMP"),
        (saved(halves(), "TIFF"), "TIFF"),
        (saved(halves(), "ICO", sizes=[(16, 16)]), "ICO"),
        (b"%PDF-1.7 ...", "PDF"),
        (b"  <svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\0\0\0\x18ftypavif\0\0\0\0", "AVIF"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "video"),
        (b"Just some text.", "no format that is known"),
        (b"\0" * 100, "no format that is known"),
    ],
)
def test_another_format_is_refused_by_name(data: bytes, name: str) -> None:
    with pytest.raises(UnsupportedImage, match=f"{name}.*send PNG, JPEG, WebP or GIF"):
        shown(data)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_file_that_was_cut_off_is_refused(form: str) -> None:
    noise = Image.fromarray(np.random.default_rng(7).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    data = saved(noise, form)
    for part in (0.9, 0.5, 0.2):
        with pytest.raises(InvalidRequest) as caught:
            shown(data[: int(len(data) * part)])
        assert isinstance(caught.value, DamagedImage | UnsupportedImage)


def test_no_bytes_and_too_many_are_refused_before_a_process_begins() -> None:
    with pytest.raises(DamagedImage, match="empty"):
        read_picture(b"", **CAPS)
    with pytest.raises(RequestTooLarge, match="20,000,001 bytes, 20,000,000 are allowed") as caught:
        read_picture(bytes(20_000_001), **CAPS)
    assert caught.value.param == "messages"


def bomb(width: int, height: int) -> bytes:
    """Return a PNG of few bytes that says, and keeps, that it has very many pixels of one bit."""
    rows = zlib.compress(bytes((width // 8 + 1) * height), 9) if width * height < 10**9 else b""
    chunks = [(b"IHDR", struct.pack(">2I5B", width, height, 1, 0, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def test_a_bomb_is_refused_by_what_it_says_of_itself() -> None:
    for side in (8_000, 100_000):
        with pytest.raises(RequestTooLarge, match="pixels, 50,000,000 are allowed") as caught:
            read_picture(bomb(side, side), **CAPS)
        assert caught.value.param == "messages"


def test_a_bomb_that_the_operators_cap_lets_pass_ends_its_own_process_alone() -> None:
    small = Reader(
        "jc1.vision.images:decode",
        noun="picture",
        advice="send a smaller one",
        damaged=DamagedImage,
        errors=(DamagedImage, UnsupportedImage),
        memory_bytes=250_000_000,
    )
    with pytest.raises(RequestTooLarge, match="too much memory"):
        small(bomb(12_000, 12_000), max_pixels=10**9, max_side=2048)


SEEDS = [saved(halves(16, 16), form) for form in ("PNG", "JPEG", "WEBP", "GIF")] + [moving("GIF")]


@given(st.data())
@settings(max_examples=150)
def test_whatever_is_done_to_a_file_it_is_read_or_refused_by_name(data: st.DataObject) -> None:
    mutated(data.draw, decode)


def mutated(draw: Callable[..., Any], read: Callable[..., Any]) -> None:
    """Read a real file with some of its bytes changed, cut out or doubled."""
    file = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(file) - 1)))
        match draw(st.sampled_from(["set", "cut", "double", "end"])):
            case "set" if file:
                file[at] = draw(st.integers(0, 255))
            case "cut":
                del file[at : at + draw(st.integers(1, 40))]
            case "double":
                file[at:at] = file[at : at + draw(st.integers(1, 40))]
            case "end":
                file = file[:at]
    try:
        head, pixels = read(bytes(file), max_pixels=1_000_000, max_side=512)
    except (DamagedImage, UnsupportedImage, RequestTooLarge):
        return
    assert len(pixels) == head["width"] * head["height"] * 3
