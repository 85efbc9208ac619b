"""What is LMDB's own: several processes, crashes, damage, a full disk and the size bound."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from jc1.cache.lmdb import LmdbCache

ROOT = Path(__file__).parents[3]
WRITER = """
import sys
from pathlib import Path
from jc1.cache.lmdb import LmdbCache
cache = LmdbCache(Path(sys.argv[1]))
name, count = sys.argv[2], int(sys.argv[3])
for i in range(count):
    cache.put_many("n", {f"{name}/{i}".encode(): str(i).encode() * 200})
    print(i, flush=True)
sys.stdin.readline()
cache.close()
"""


def start_writer(folder: Path, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), name, str(count)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_what_one_process_stored_another_finds(tmp_path: Path) -> None:
    with start_writer(tmp_path / "cache", "a", 50) as first, start_writer(tmp_path / "cache", "b", 50) as second:
        for writer in (first, second):
            writer.communicate("done\n")
            assert writer.returncode == 0
    cache = LmdbCache(tmp_path / "cache")
    assert cache.get_many("n", [f"{n}/{i}".encode() for n in "ab" for i in range(50)]) == [
        str(i).encode() * 200 for _ in "ab" for i in range(50)
    ]
    cache.close()


def test_what_was_stored_before_kill_9_is_there_after_it(tmp_path: Path) -> None:
    with start_writer(tmp_path / "cache", "a", 100_000) as writer:
        assert writer.stdout is not None
        stored = [int(writer.stdout.readline()) for _ in range(500)]
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
    cache = LmdbCache(tmp_path / "cache")
    assert cache.get_many("n", [f"a/{i}".encode() for i in stored]) == [str(i).encode() * 200 for i in stored]
    cache.put_many("n", {b"after": b"value"})
    assert cache.get("n", b"after") == b"value"
    cache.close()


def test_two_caches_of_one_process_on_one_folder_share_it(tmp_path: Path) -> None:
    first, second = LmdbCache(tmp_path / "cache"), LmdbCache(tmp_path / "cache")
    first.put_many("n", {b"key": b"value"})
    assert second.get("n", b"key") == b"value"
    first.close()
    assert second.get("n", b"key") == b"value"
    second.close()
    third = LmdbCache(tmp_path / "cache")
    assert third.get("n", b"key") == b"value"
    third.close()


@pytest.mark.parametrize("damage", ["not LMDB", "cut short"])
def test_a_damaged_file_is_deleted_and_a_new_one_begun_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    folder = tmp_path / "cache"
    cache = LmdbCache(folder)
    cache.put_many("n", {str(i).encode(): b"value" * 200 for i in range(1000)})
    cache.close()
    (data,) = folder.glob("*/data.mdb")
    if damage == "not LMDB":
        data.write_bytes(os.urandom(100_000))
    else:
        os.truncate(data, data.stat().st_size // 2)

    cache = LmdbCache(folder)
    assert cache.get("n", b"7") is None
    cache.put_many("n", {b"key": b"value"})
    assert cache.get("n", b"key") == b"value"
    cache.close()
    assert [file.stat().st_size < 100_000 for file in tmp_path.rglob("data.mdb")] == [True]
    [warning] = warnings(caplog)
    assert "begun anew" in warning


def test_what_another_boot_left_is_deleted_unread(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    cache = LmdbCache(folder)
    cache.put_many("n", {b"key": b"value"})
    cache.close()
    (booted,) = folder.iterdir()
    booted.rename(folder / "8f3c1a52-0000-0000-0000-000000000000")
    (folder / "data.mdb").write_bytes(b"as earlier versions of JC1 had it")

    cache = LmdbCache(folder)
    assert cache.get("n", b"key") is None
    cache.close()
    assert [*folder.iterdir()] == [booted]


def test_the_file_keeps_to_its_bound_and_what_was_written_last_is_there(tmp_path: Path) -> None:
    cache = LmdbCache(tmp_path / "cache", max_bytes=4 * 1024**2)
    for i in range(5000):
        cache.put_many("n", {str(i).encode(): b"v" * 1500})
        assert cache.get("n", str(i).encode()) is not None
    (data,) = tmp_path.glob("cache/*/data.mdb")
    assert data.stat().st_size <= 4 * 1024**2
    kept = [cache.get("n", str(i).encode()) is not None for i in range(5000)]
    assert all(kept[kept.index(True) :])
    cache.close()


def test_one_call_may_store_more_than_the_bound_and_values_too_large_are_left_out(tmp_path: Path) -> None:
    cache = LmdbCache(tmp_path / "cache", max_bytes=4 * 1024**2)
    cache.put_many("n", {str(i).encode(): b"v" * 1500 for i in range(10_000)} | {b"large": b"v" * 3 * 1024**2})
    assert cache.get("n", b"9999") == b"v" * 1500
    assert cache.get("n", b"large") is None
    cache.close()


def test_a_value_too_large_to_keep_still_takes_the_place_of_the_earlier_one(tmp_path: Path) -> None:
    cache = LmdbCache(tmp_path / "cache", max_bytes=4 * 1024**2)
    cache.put_many("n", {b"key": b"earlier"})
    cache.put_many("n", {b"key": b"v" * 1024**2})
    assert cache.get("n", b"key") is None
    cache.close()


def test_a_file_larger_than_a_bound_that_was_lowered_is_begun_anew(tmp_path: Path) -> None:
    cache = LmdbCache(tmp_path / "cache")
    cache.put_many("n", {str(i).encode(): b"v" * 1500 for i in range(5000)})
    cache.close()
    cache = LmdbCache(tmp_path / "cache", max_bytes=1024**2)
    cache.put_many("n", {b"key": b"value"})
    assert cache.get("n", b"key") == b"value"
    (data,) = tmp_path.glob("cache/*/data.mdb")
    assert data.stat().st_size <= 1024**2
    cache.close()


def test_a_folder_that_cannot_be_made_means_misses_and_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a folder")
    cache = LmdbCache(tmp_path / "file" / "cache")
    cache.put_many("n", {b"key": b"value"})
    assert cache.get("n", b"key") is None
    cache.close()
    [warning] = warnings(caplog)
    assert "goes on without it" in warning


def test_a_disk_that_takes_no_more_loses_writes_and_keeps_what_it_has(tmp_path: Path) -> None:
    # A limit on the size of files makes writes fail as a full disk does; it is a process's own, hence the subprocess.
    script = """
import resource, sys
from pathlib import Path
from jc1.cache.lmdb import LmdbCache
cache = LmdbCache(Path(sys.argv[1]))
cache.put_many("n", {b"early": b"value"})
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
for i in range(1000):
    cache.put_many("n", {str(i).encode(): b"v" * 1500})
assert cache.get("n", b"early") == b"value"
assert cache.get("n", b"999") is None
cache.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "cache")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cannot be written") == 1


def test_what_cannot_be_deleted_is_not_found_any_more(tmp_path: Path) -> None:
    script = """
import resource, sys
from pathlib import Path
from jc1.cache.lmdb import LmdbCache
folder = Path(sys.argv[1])
cache = LmdbCache(folder)
cache.put_many("n", {b"stale": b"value"})
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
cache.delete("n", b"stale")
assert cache.get("n", b"stale") is None
cache.close()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
cache = LmdbCache(folder)
assert cache.get("n", b"stale") is None
cache.put_many("n", {b"key": b"value"})
assert cache.get("n", b"key") == b"value"
cache.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "cache")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cannot be cleared") == 1


def test_closing_waits_for_the_operations_that_are_under_way(tmp_path: Path) -> None:
    cache = LmdbCache(tmp_path / "cache")
    keys = [str(i).encode() for i in range(2000)]
    cache.put_many("n", dict.fromkeys(keys, b"value"))
    running = threading.Event()
    answers: list[set[bytes | None]] = []

    def read() -> None:
        while True:
            answers.append(set(cache.get_many("n", keys)))
            running.set()
            if None in answers[-1]:
                return

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    running.wait()
    cache.close()
    for thread in threads:
        thread.join()
    assert {frozenset(answer) for answer in answers} == {frozenset({b"value"}), frozenset({None})}


def test_a_forked_process_leaves_the_parents_cache_alone(tmp_path: Path) -> None:
    script = """
import os, sys
from pathlib import Path
from jc1.cache.lmdb import LmdbCache
cache = LmdbCache(Path(sys.argv[1]))
cache.put_many("n", {b"key": b"value"})
child = os.fork()
if child == 0:
    missed = cache.get("n", b"key") is None
    cache.close()
    os._exit(0 if missed else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert cache.get("n", b"key") == b"value"
cache.close()
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "cache")], cwd=ROOT, check=True)


CLEARER = """
import sys
from pathlib import Path
from jc1.cache.lmdb import LmdbCache
cache = LmdbCache(Path(sys.argv[1]))
for _ in iter(sys.stdin.readline, ""):
    print(cache.vacuum(), flush=True)
"""


def test_two_processes_that_begin_the_file_anew_at_once_never_mix_the_files_of_both(tmp_path: Path) -> None:
    def opened(process: subprocess.Popen[str], name: str) -> set[str]:
        links = [os.readlink(link) for link in Path(f"/proc/{process.pid}/fd").iterdir()]
        return {link.partition(name)[2] for link in links if name in link}

    code = [sys.executable, "-c", CLEARER, str(tmp_path / "cache")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    with subprocess.Popen(code, **pipes) as first, subprocess.Popen(code, **pipes) as second:
        for _ in range(100):
            for process in (first, second):
                process.stdin.write("\n")
                process.stdin.flush()
            assert [process.stdout.readline() for process in (first, second)] == ["True\n"] * 2
            # The one that came first has the deleted pair, or both have the new one.
            for process in (first, second):
                data, lock = opened(process, "data.mdb"), opened(process, "lock.mdb")
                assert data == lock
                assert len(data) == 1
        for process in (first, second):
            process.stdin.close()
