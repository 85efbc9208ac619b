"""Text in pictures, read by the real models: what it says, where it stands, and what is no text."""

from __future__ import annotations

import logging
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jc1.errors import OcrUnavailable
from jc1.vision.ocr import MAX_RATIO, SHA256, RapidOcr, bundled_folder
from tests.support.pictures import of_text, pixels

RECEIPT = ("Harbour Cafe", "2 x tea 5.00", "Total: 17.45 EUR")


@pytest.fixture(scope="module")
def ocr() -> RapidOcr:
    reader = RapidOcr()
    reader.load()
    return reader


def test_lines_are_read_in_order_with_their_places(ocr: RapidOcr) -> None:
    reading = ocr.read(pixels(of_text(*RECEIPT)))
    assert reading.text == "\n".join(RECEIPT)
    for number, line in enumerate(reading.lines):
        left, top, right, bottom = line.box
        assert abs(left - 40) < 10
        assert abs((top + bottom) / 2 - (47 + 44 * number)) < 12
        assert left < right <= reading.width
        assert line.confidence > 0.8


@pytest.mark.parametrize("quarter_turns", [1, 2, 3])
def test_a_picture_on_its_side_or_head_is_read_all_the_same(ocr: RapidOcr, quarter_turns: int) -> None:
    upright = pixels(of_text(*RECEIPT))
    reading = ocr.read(np.rot90(upright, quarter_turns))
    assert reading.text == "\n".join(RECEIPT)
    assert (reading.height, reading.width) == np.rot90(upright, quarter_turns).shape[:2]
    # Where the letters are, the picture is dark.
    left, top, right, bottom = reading.lines[0].box
    assert np.rot90(upright, quarter_turns)[top:bottom, left:right].min() < 64


def test_a_picture_larger_than_what_is_read_has_its_places_in_its_own_pixels(ocr: RapidOcr) -> None:
    small = of_text("The walrus sleeps.", size=(1000, 600))
    reading = ocr.read(pixels(small.resize((4000, 2400))))
    assert reading.text == "The walrus sleeps."
    left, top, _, bottom = reading.lines[0].box
    assert (left, top) == (pytest.approx(160, abs=40), pytest.approx(150, abs=60))
    assert bottom < 400


@pytest.mark.parametrize("size", [(1, 1), (7, 5000), (5000, 7), (12, 900), (9, 9)])
def test_strips_and_specks_hold_no_text(ocr: RapidOcr, size: tuple[int, int]) -> None:
    assert ocr.read(pixels(Image.new("RGB", size, "white"))).rows == ()


def test_a_strip_of_text_is_read(ocr: RapidOcr) -> None:
    words = "the walrus carried two crates of clams " * 4
    strip = pixels(of_text(words.strip()))
    assert strip.shape[1] > 4 * MAX_RATIO * strip.shape[0]
    assert ocr.read(strip).text.split() == words.split()


def test_shading_and_noise_hold_no_text(ocr: RapidOcr) -> None:
    shading = Image.radial_gradient("L").resize((400, 300))
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    assert (ocr.read(pixels(shading)).text, ocr.read(noise).text) == ("", "")


def test_it_fetches_nothing_and_logs_no_text(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with caplog.at_level(logging.DEBUG):
        assert RapidOcr().read(pixels(of_text("Secret number 4711"))).text == "Secret number 4711"
    assert "4711" not in caplog.text
    assert capfd.readouterr() == ("", "")


def test_many_threads_may_read_at_once(ocr: RapidOcr) -> None:
    texts = [f"Order no. {number}" for number in range(4)]
    with ThreadPoolExecutor(4) as threads:
        readings = list(threads.map(lambda text: ocr.read(pixels(of_text(text))).text, texts))
    assert readings == texts


def test_a_model_that_is_not_the_published_one_is_not_loaded(tmp_path: Path) -> None:
    for name in SHA256:
        shutil.copy(bundled_folder() / name, tmp_path)
    damaged = tmp_path / next(iter(SHA256))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(OcrUnavailable, match="SHA-256"):
        RapidOcr(tmp_path).load()
    damaged.unlink()
    with pytest.raises(OcrUnavailable, match=r"cannot be read .*reinstall"):
        RapidOcr(tmp_path).read(pixels(of_text("a")))


def test_a_closed_reader_reads_no_more() -> None:
    reader = RapidOcr()
    reader.close()
    with pytest.raises(OcrUnavailable, match="closed"):
        reader.read(pixels(of_text("a")))
