"""GPUs as NVIDIA's library would tell them. There is none here, so the library itself is a stand-in."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from jc1.hardware import Gpu, gpus, islands, recommended_tensor_parallel

GIB = 2**30


def nvml(count: int, joined: set[frozenset[int]], *, broken: bool = False) -> Any:
    """A stand-in for `pynvml` with so many H100s, of which those pairs are joined by NVLink."""

    class NVMLError(Exception):
        pass

    def init() -> None:
        if broken:
            raise NVMLError("driver not loaded")

    def p2p(a: int, b: int, what: str) -> int:
        assert what == "nvlink"
        if a == 7 or b == 7:
            raise NVMLError("not supported")
        return 0 if frozenset((a, b)) in joined else 3

    return SimpleNamespace(
        NVMLError=NVMLError,
        NVML_P2P_CAPS_INDEX_NVLINK="nvlink",
        NVML_P2P_STATUS_OK=0,
        nvmlInit=init,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: count,
        nvmlDeviceGetHandleByIndex=lambda i: i,
        nvmlDeviceGetName=lambda handle: "NVIDIA H100",
        nvmlDeviceGetUUID=lambda handle: f"GPU-{handle}aaa",
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(total=80 * GIB, free=78 * GIB),
        nvmlDeviceGetP2PStatus=p2p,
    )


def use(monkeypatch: pytest.MonkeyPatch, library: Any) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", library)


def test_each_gpu_has_its_memory_and_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, nvml(3, {frozenset((0, 1))}))
    assert gpus() == [
        Gpu(0, "NVIDIA H100", 80 * GIB, 78 * GIB, frozenset({1})),
        Gpu(1, "NVIDIA H100", 80 * GIB, 78 * GIB, frozenset({0})),
        Gpu(2, "NVIDIA H100", 80 * GIB, 78 * GIB),
    ]


def test_a_pair_that_cannot_be_asked_counts_as_not_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, nvml(8, {frozenset((a, b)) for a in range(8) for b in range(a)}))
    assert islands(gpus()) == [tuple(range(7)), (7,)]


@pytest.mark.parametrize("library", [None, nvml(0, set(), broken=True), nvml(0, set())])
def test_without_driver_library_or_gpus_there_are_none(monkeypatch: pytest.MonkeyPatch, library: Any) -> None:
    use(monkeypatch, library)
    assert gpus() == []


@pytest.mark.parametrize(
    ("named", "left"), [(None, [0, 1, 2]), ("", []), ("1", [1]), ("2, 0", [0, 2]), ("GPU-1a", [1]), ("9", [])]
)
def test_only_the_visible_ones_count(monkeypatch: pytest.MonkeyPatch, named: str | None, left: list[int]) -> None:
    use(monkeypatch, nvml(3, set()))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert [gpu.index for gpu in gpus()] == left


def test_one_that_tells_nothing_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    library = nvml(2, set())
    told = library.nvmlDeviceGetMemoryInfo

    def memory(handle: int) -> Any:
        if handle == 0:
            raise library.NVMLError("lost")
        return told(handle)

    library.nvmlDeviceGetMemoryInfo = memory
    use(monkeypatch, library)
    assert [gpu.index for gpu in gpus()] == [1]


def some(count: int, memory: int, *groups: tuple[int, ...]) -> list[Gpu]:
    joined = {i: frozenset(j for group in groups if i in group for j in group if j != i) for i in range(count)}
    return [Gpu(i, "GPU", memory * GIB, memory * GIB, joined[i]) for i in range(count)]


@pytest.mark.parametrize(
    ("found", "weights", "heads", "expected"),
    [
        ([], 16, 32, 1),
        (some(4, 80, (0, 1, 2, 3)), 16, 32, 1),
        (some(4, 80, (0, 1, 2, 3)), 70, 32, 2),
        (some(4, 80, (0, 1, 2, 3)), 140, 32, 4),
        (some(4, 24, (0, 1), (2, 3)), 30, 32, 2),
        (some(4, 24, (0, 1), (2, 3)), 60, 32, 4),
        (some(3, 24), 30, 32, 2),
        (some(4, 24, (0, 1, 2, 3)), 30, 9, 0),
        (some(2, 24, (0, 1)), 100, 32, 0),
    ],
)
def test_the_fewest_gpus_that_hold_the_weights_are_recommended(
    found: list[Gpu], weights: int, heads: int, expected: int
) -> None:
    assert recommended_tensor_parallel(found, weights=weights * GIB, heads=heads) == expected


def test_doctor_shows_memory_nvlink_and_the_recommendation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from jc1.doctor import examine
    from jc1.settings import Settings

    use(monkeypatch, nvml(4, {frozenset((0, 1)), frozenset((2, 3))}))
    monkeypatch.setattr("jc1.engines.version", lambda package: "0.32.0")
    report = {check["check"]: check for check in examine(Settings(), probe=lambda statements: "")["checks"]}
    assert report["gpu"]["state"] == "ok"
    assert "0 NVIDIA H100 80 GiB, 78 free" in report["gpu"]["finding"]
    assert report["gpu"]["finding"].endswith("NVLink: 0-1, 2-3")
    assert report["tensor_parallel"]["finding"].startswith("1 for jc1-tiny")
    assert "--engine auto is vllm" in report["engines"]["finding"]
