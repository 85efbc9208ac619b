"""The embedder that the settings name, with the cache before it."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from jc1.cache import create_cache
from jc1.embedding import create_embedder
from jc1.embedding.cached import CachedEmbedder
from jc1.embedding.openvino import OpenVinoEmbedder
from jc1.embedding.sentence_transformers import SentenceTransformersEmbedder
from jc1.settings import Settings


def test_the_default_is_openvino_which_is_not_even_loaded_for_what_an_earlier_run_embedded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "jc1.embedding")
    settings = Settings(home=tmp_path, embedder_threads=1)
    vectors = []
    for run in ("first", "second"):
        caplog.clear()
        cache = create_cache(settings)
        embedder = create_embedder(settings, cache)
        vectors.append(embedder.embed(["My cat is called Ada."]))
        embedder.close()
        cache.close()
        assert ("Loaded" in caplog.text) == (run == "first")
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert isinstance(embedder, CachedEmbedder)
    assert isinstance(embedder.embedder, OpenVinoEmbedder)
    assert embedder.embedder.threads == 1


def test_sentence_transformers_takes_the_bundled_model_where_none_is_named(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, embedder="sentence-transformers", cache="off")
    embedder = create_embedder(settings, create_cache(settings))
    assert isinstance(embedder, CachedEmbedder)
    assert isinstance(embedder.embedder, SentenceTransformersEmbedder)
    assert embedder.dimension == 384
    embedder.close()


def test_what_was_embedded_once_is_read_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(home=tmp_path)
    cache = create_cache(settings)
    embedder = create_embedder(settings, cache)
    assert isinstance(embedder, CachedEmbedder)
    (first,) = embedder.embed(["My cat is called Ada."])
    monkeypatch.delattr(type(embedder.embedder), "embed")
    (second,) = embedder.embed(["My cat is called Ada."])
    assert (first == second).all()
    embedder.close()
    cache.close()
