"""Reading text in pictures: the interface of a reader, and PP-OCR on the CPU from the package rapidocr.

Knows which model files it trusts and how rapidocr is called, so that it fetches nothing. Knows nothing about files: it
is given pixels, which `jc1/vision/images.py` has made of them in a confined process.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from jc1.errors import OcrUnavailable
from jc1.hardware import available_cores
from jc1.vision.reading import Corners, Line, Point, Reading, in_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

SHA256 = {
    "PP-OCRv6_det_small.onnx": "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
    "PP-OCRv6_rec_small.onnx": "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
}
"""The models inside rapidocr 3.10: one finds lines, one reads them. Its third, which tells lines that stand on their
head, is left out: it turned every twentieth line of upright print, and in monospaced print every fourth."""
THREADS = 2
"""Threads that one picture is read with: the engine, which waits for the text, needs the other cores for other
requests."""
MAX_SIDE = 2000
"""Pixels of the longer side of what is read; a larger picture is made smaller: 12 point print at 170 dots an inch."""
MIN_SIDE = 8
"""Pixels of the shorter side from which a picture may hold text: no legible letter is smaller."""
MAX_RATIO = 4
"""A picture that is longer than this many times its other side is padded: rapidocr enlarges the shorter side to 736
pixels, and a strip would take gigabytes."""
CLEAR = 0.5
"""Confidence from which a line counts as read."""
UPRIGHT = 0.8
"""Mean confidence below which a picture may stand on its head: print that is read well has .95 and more."""
MAX_LINES = 500
"""Most lines that are read in one picture, so that a picture made of specks does not take minutes: a printed page has
some 60, a full screen some 200."""
_REINSTALL = "run `pip install --force-reinstall rapidocr`"


class Ocr(Protocol):
    """What reads the text in pictures. Its methods block and may be called from any thread."""

    model: str

    def load(self) -> None:
        """Load the model if that has not been done. Raises `OcrUnavailable`."""

    def read(self, pixels: NDArray[np.uint8]) -> Reading:
        """Return the text in a picture, given as RGB of shape (height, width, 3); no lines where there is none.

        Raises `OcrUnavailable`.
        """

    def close(self) -> None:
        """Free the memory as soon as the picture under way is read. The reader cannot be used again."""


class RapidOcr:
    """An `Ocr` that loads its models at first use, or when `load` is called. It reads one picture at a time.

    Arguments:
        folder: holds the files that `SHA256` names; the package rapidocr's own by default.
        threads: number to compute with.
    """

    model = "PP-OCRv6-small"

    def __init__(self, folder: Path | None = None, *, threads: int = THREADS) -> None:
        self._folder = folder
        self._threads = min(threads, available_cores())
        # Held while a picture is read: rapidocr keeps a call's options in the object.
        self._lock = threading.Lock()
        self._reader: Any = None
        self._closed = False

    def load(self) -> None:
        with self._lock:
            self._loaded()

    def read(self, pixels: NDArray[np.uint8]) -> Reading:
        import numpy as np

        height, width = pixels.shape[:2]
        if min(height, width) < MIN_SIDE:
            return Reading(width, height)
        canvas, scale = _fitted(pixels)
        with self._lock:
            reader = self._loaded()
            # 1) As it is
            turns, lines = 0, _lines(reader, canvas)
            # 2) On its head, or on its side, where it looks as if it were
            for turned in _other_turns(lines):
                again = _lines(reader, np.ascontiguousarray(np.rot90(canvas, turned)))
                if _uprightness(again) > _uprightness(lines):
                    turns, lines = turned, again
        rows = in_rows([line for line in lines if line.confidence >= CLEAR])
        side = canvas.shape[1], canvas.shape[0]
        return Reading(width, height, tuple(tuple(_placed(line, side, turns, scale) for line in row) for row in rows))

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._reader = None

    def _loaded(self) -> Any:
        """Return rapidocr's reader. To be called under the lock."""
        if self._closed:
            raise OcrUnavailable("What reads text in pictures is closed: open a new pipeline.")
        if self._reader is None:
            began = time.perf_counter()
            self._reader = _load(self._folder or bundled_folder(), self._threads)
            logger.info("Loaded %s in %.2f s, %d threads.", self.model, time.perf_counter() - began, self._threads)
        return self._reader


def bundled_folder() -> Path:
    """Return the folder in which the package rapidocr keeps its models. Raises `OcrUnavailable`."""
    from importlib.util import find_spec

    spec = find_spec("rapidocr")  # importing it takes a second
    if spec is None or spec.origin is None:
        raise OcrUnavailable("What reads text in pictures is not installed: run `pip install rapidocr`.")
    return Path(spec.origin).parent / "models"


def check_files(folder: Path) -> None:
    """Raise `OcrUnavailable` unless the folder holds the models as they were published."""
    for name, digest in SHA256.items():
        try:
            data = (folder / name).read_bytes()
        except OSError as error:
            raise OcrUnavailable(f"{folder / name} cannot be read ({error.strerror}): {_REINSTALL}.") from None
        if hashlib.sha256(data).hexdigest() != digest:
            raise OcrUnavailable(
                f"{folder / name} is not the file that was published (its SHA-256 differs): {_REINSTALL}."
            )


def _load(folder: Path, threads: int) -> Any:
    check_files(folder)
    try:
        from rapidocr import RapidOCR
    except ImportError as error:
        raise OcrUnavailable(f"{error.name} is not installed: run `pip install {error.name}`.") from None
    finder, recogniser = (str(folder / name) for name in SHA256)
    # Each path is given: what rapidocr has to look for it would fetch.
    reader = RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.model_root_dir": str(folder),
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            "Det.model_path": finder,
            "Det.max_candidates": MAX_LINES,
            "Rec.model_path": recogniser,
            "Global.use_cls": False,
            "Global.text_score": 0.0,  # what is not clear tells whether the picture stands upright
        }
    )
    # It would load them with the first picture; what is wrong with them shows here.
    for load in (reader._load_det_model, reader._load_rec_model):
        load()
    return reader


def _fitted(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """Return a picture as rapidocr takes it, BGR and of bounded size and shape, and how much smaller it was made."""
    import numpy as np
    from PIL import Image

    height, width = pixels.shape[:2]
    scale = min(1.0, MAX_SIDE / max(height, width))
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
        height, width = pixels.shape[:2]
    least = -(-max(height, width) // MAX_RATIO)
    missing = max(0, least - height), max(0, least - width)
    if any(missing):
        pixels = np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    return np.ascontiguousarray(pixels[:, :, ::-1]), scale


def _lines(reader: Any, canvas: NDArray[np.uint8]) -> list[Line]:
    """Return the lines of a picture as rapidocr finds them. Raises `OcrUnavailable` where it fails."""
    from rapidocr.inference_engine.onnxruntime.main import ONNXRuntimeError

    try:
        result = reader(canvas)
    except (ONNXRuntimeError, MemoryError) as error:
        logger.error("rapidocr failed: %s", type(error).__name__)
        raise OcrUnavailable("Reading the text in a picture failed: send a smaller picture, or `ocr` off.") from None
    if result.boxes is None or result.txts is None:
        return []
    return [
        Line(text.strip(), cast("Corners", tuple((float(x), float(y)) for x, y in corners)), float(confidence))
        for corners, text, confidence in zip(result.boxes, result.txts, result.scores, strict=True)
        if text.strip()
    ]


def _other_turns(lines: Sequence[Line]) -> tuple[int, ...]:
    """Return the quarter turns, counter-clockwise, after which the picture may read better."""
    if not lines:
        return ()
    wide, confidence = _uprightness(lines)
    if not wide:
        return 1, 3
    return (2,) if confidence < UPRIGHT else ()


def _uprightness(lines: Sequence[Line]) -> tuple[bool, float]:
    """Return whether most characters stand in lines that are wider than high, and their mean confidence."""
    characters = sum(len(line.text) for line in lines)
    if not characters:
        return False, 0.0
    tall = sum(len(line.text) for line in lines if line.box[3] - line.box[1] > line.box[2] - line.box[0])
    return tall <= characters / 2, sum(line.confidence * len(line.text) for line in lines) / characters


def _placed(line: Line, side: tuple[int, int], turns: int, scale: float) -> Line:
    """Return a line of the canvas, of width and height `side`, that was turned, as it lies in the picture itself."""
    width, height = side

    def place(point: Point) -> Point:
        x, y = point
        turned = ((x, y), (width - y, x), (width - x, height - y), (y, height - x))[turns]
        return turned[0] / scale, turned[1] / scale

    return Line(line.text, cast("Corners", tuple(map(place, line.corners))), line.confidence)
