"""`jc1 see` as a person or a script meets it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.cli import Run, ok
from tests.support.sent_pictures import png


def test_pictures_are_shown_with_a_question(jc1: Run, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(40, 20))
    (tmp_path / "b.png").write_bytes(png(7, 9))
    shown = ok(jc1("see", "a.png", "b.png", "What is this?", "--no-memory"))
    assert shown == "[picture 40x20]\n[picture 7x9]\nWhat is this?\n"


def test_what_was_seen_is_remembered_by_its_files_name(jc1: Run, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(40, 20))
    answer = json.loads(ok(jc1("see", "a.png", "What is this?", "--ocr", "off", "--json")))
    assert answer["trace"]["pictures"] == [{"width": 40, "height": 20, "tokens": 15}]
    listed = json.loads(ok(jc1("memory", "list", "--json")))["records"]
    assert "a.png, 40 x 20 pixels, without text." in [record["text"] for record in listed]


def test_a_file_that_is_no_picture_or_not_there_is_named(jc1: Run, tmp_path: Path) -> None:
    missing = jc1("see", "nowhere.png", "What is this?")
    assert (missing.returncode, missing.stderr) == (
        1,
        "jc1: nowhere.png cannot be read (No such file or directory): see that the file is there. [invalid_request]\n",
    )
    (tmp_path / "a.png").write_bytes(b"no picture")
    refused = jc1("see", "a.png", "What is this?")
    assert (refused.returncode, refused.stderr.endswith("[unsupported_image]\n")) == (1, True)
    (tmp_path / "a.png").write_bytes(png(40, 20) + bytes(2000))
    large = jc1("see", "a.png", "What is this?", JC1_MAX_IMAGE_BYTES="1000")
    assert (large.returncode, large.stderr.endswith("[request_too_large]\n")) == (1, True)
