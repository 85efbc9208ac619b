"""Other models through sentence-transformers, each with a fingerprint of its own."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from jc1.embedding.openvino import bundled_folder
from jc1.embedding.sentence_transformers import SentenceTransformersEmbedder
from jc1.errors import EmbedderUnavailable


def test_it_embeds_any_text_from_any_thread_and_says_when_it_is_closed() -> None:
    embedder = SentenceTransformersEmbedder(bundled_folder(), device="cpu")
    embedder.load()
    texts = ["a", "a longer text about a cat", "", "\ud800", "word " * 50]
    expected = embedder.embed(texts)
    assert (expected.dtype, expected.shape) == (np.float32, (5, 384))
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-5)
    assert embedder.embed([]).shape == (0, 384)

    cosines: list[float] = []

    def work(index: int) -> None:
        for _ in range(5):
            cosines.append(float(embedder.embed([texts[index]])[0] @ expected[index]))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cosines) == 25
    assert min(cosines) > 0.9999

    embedder.close()
    with pytest.raises(EmbedderUnavailable, match="closed"):
        embedder.embed(["a"])


def test_the_fingerprint_follows_the_weights_and_not_the_folder(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(bundled_folder()), device="cpu", local_files_only=True)
    model.save(str(tmp_path / "same" / "model"))
    next(model.parameters()).data[0, 0] += 1
    model.save(str(tmp_path / "changed" / "model"))

    same, again, changed = (
        SentenceTransformersEmbedder(tmp_path / name / "model", device="cpu").fingerprint
        for name in ("same", "same", "changed")
    )
    assert same == again != changed
    assert len(changed) <= 200


@pytest.mark.parametrize("model", ["no/such-model", "folder"])
def test_a_model_that_cannot_be_loaded_is_refused_with_the_next_step(tmp_path: Path, model: str) -> None:
    (tmp_path / "folder").mkdir()
    name: str | Path = tmp_path / "folder" if model == "folder" else model
    with pytest.raises(EmbedderUnavailable, match="embedder_model"):
        SentenceTransformersEmbedder(name)
