"""The embedded cache: LMDB, one folder, shared by every thread and process of the machine.

Knows keys, lifetimes, the size bound and what to do with a damaged file. Knows nothing about what the bytes mean.

Layout. A key is `namespace 0x00 k key`, or `namespace 0x00 h SHA-256(key)` where that would be longer than LMDB allows.
A value follows the moment at which it expires, as eight bytes. What fills half of the bound is dropped whole: the other
half stays free for LMDB's copy-on-write.

Durability. A commit is not flushed to the disk (15 µs; flushed it is 4 ms on a common SSD): a killed process loses
nothing, since the kernel has the pages, but a power cut may tear the file, and LMDB trusts what it reads. So the files
lie in a folder with the name of the machine's boot, and what another boot left is deleted unread.

Processes. LMDB opens a lock file and a data file by their names, one after the other. Who opened the lock of one pair
and the data of the next would write beside others, so files are opened and deleted by one process at a time (`_alone`).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import lmdb

from jc1.cache.base import State
from jc1.cache.lookups import Lookups
from jc1.cache.namespaces import prefix

logger = logging.getLogger(__name__)
T = TypeVar("T")

_STAMP = struct.Struct(">d")
_FOREVER = float("inf")
_LONGEST_KEY = 511  # LMDB's own limit, in bytes
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Raised by LMDB for a file that is not its own, or is damaged inside.
_DAMAGE = (lmdb.InvalidError, lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.PanicError, lmdb.VersionMismatchError)


class LmdbCache:
    """A `Cache` in a folder of this machine.

    Arguments:
        folder: made if it is not there; nothing else may live in it.
        max_bytes: the size of the file at most. A value of more than a sixteenth of it is not kept.
        clock: seconds since the epoch; a test hands in its own.
    """

    def __init__(self, folder: Path, *, max_bytes: int = 512 * 1024**2, clock: Callable[[], float] = time.time) -> None:
        self.lookups = Lookups()
        self._clock = clock
        self._warned: set[str] = set()
        self._chunk = max_bytes // 16
        self._store: _Store | None = None
        try:
            self._store = _acquire(folder.absolute(), max_bytes)
        except (lmdb.Error, OSError) as error:
            self._warn("opened", error)

    @property
    def state(self) -> State:
        return "closed" if self._store is not None and self._store.usable else "open"

    def get(self, namespace: str, key: bytes) -> bytes | None:
        return self.get_many(namespace, [key])[0]

    def get_many(self, namespace: str, keys: Sequence[bytes]) -> list[bytes | None]:
        places = [_place(namespace, key) for key in keys]

        def read(store: _Store) -> list[bytes | None]:
            now = self._clock()
            with store.environment.begin() as transaction:
                return [_unexpired(transaction.get(place), now) for place in places]

        values = self._attempt("read", read)
        if values is None:
            self.lookups.failed(namespace, len(keys))
            return [None] * len(keys)
        self.lookups.count(namespace, values)
        return values

    def put_many(self, namespace: str, items: Mapping[bytes, bytes], *, ttl: float | None = None) -> None:
        stamp = _STAMP.pack(_FOREVER if ttl is None else self._clock() + ttl)
        chunk: list[tuple[bytes, bytes]] = []
        size = 0
        for key, value in items.items():
            # 1) What is too large is not kept
            if len(value) > self._chunk:
                self.delete(namespace, key)  # the earlier value is not the key's any more
                continue
            # 2) A full transaction is committed
            if size + len(value) > self._chunk:
                self._write(chunk)
                chunk, size = [], 0
            # 3) The item waits for the next one
            chunk.append((_place(namespace, key), stamp + value))
            size += len(value)
        self._write(chunk)

    def delete(self, namespace: str, key: bytes) -> None:
        place = _place(namespace, key)

        def remove(store: _Store) -> None:
            with store.environment.begin(write=True) as transaction:
                transaction.delete(place)

        self._attempt("cleared", remove)

    def clear(self, namespace: str) -> None:
        start = prefix(namespace)

        def remove(store: _Store) -> None:
            with store.environment.begin(write=True) as transaction, transaction.cursor() as cursor:
                there = cursor.set_range(start)
                while there and cursor.key().startswith(start):
                    there = cursor.delete()

        self._attempt("cleared", remove)

    def vacuum(self) -> bool:
        """Replace the file by an empty one, and return whether that was done.

        LMDB leaves the bytes of removed values in pages that it has not used again. Another process that has the file
        open goes on with the old one, which has no name any more and ends with it.
        """
        try:
            return self._store is not None and self._store.begin_anew()
        except (lmdb.Error, OSError) as error:
            self._warn("begun anew", error)
            return False

    def close(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            _release(store)

    def _write(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        if items:
            self._attempt("written", lambda store: store.write(items))

    def _attempt(self, what: str, operation: Callable[[_Store], T]) -> T | None:
        """Return the operation's result, or `None` where the store is closed or fails."""
        store = self._store
        if store is None or not store.enter():
            return None
        try:
            return operation(store)
        except lmdb.Error as error:
            self._warn(what, error)
            if what == "cleared" or isinstance(error, _DAMAGE):
                # What cannot be removed must not be found, nor what is damaged. Other threads may be reading the
                # mapped pages, so the deleted file stays open, where no lookup gets to it any more.
                store.usable = False
                with contextlib.suppress(OSError), _alone(store.folder.parent):
                    shutil.rmtree(store.folder, ignore_errors=True)
        finally:
            store.leave()
        return None

    def _warn(self, what: str, error: Exception) -> None:
        if what not in self._warned:
            self._warned.add(what)
            logger.warning("The cache cannot be %s (%s): JC1 goes on without it.", what, error)


class _Store:
    """One open LMDB environment. LMDB lets a process open a folder once, so its caches on that folder share this."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.users = 1
        self.usable = True
        self._max_bytes = max_bytes
        self._open()
        self._process = os.getpid()
        self._condition = threading.Condition()
        self._inside = 0

    def _open(self) -> None:
        environment = lmdb.open(
            str(self.folder),
            map_size=self._max_bytes,
            max_readers=1024,
            sync=False,
            metasync=False,
            mode=0o600,
        )
        try:
            environment.reader_check()  # frees what killed processes held
            written = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
            if (self.folder / "data.mdb").stat().st_size < written:
                # Reading past the end of a mapped file kills the process.
                raise lmdb.CorruptedError("the file is shorter than it says")
        except BaseException:
            environment.close()
            raise
        self.environment, self._database = environment, environment.open_db()

    def begin_anew(self) -> bool:
        """Close, delete and open the file once the last operation has left, and return whether that was done.

        Lookups find nothing meanwhile. False where the store was opened before this process forked, or is closing.
        """
        if self._process != os.getpid():
            return False
        with self._condition:
            if not self.usable:
                return not self.folder.exists()
            self.usable = False
            self._condition.wait_for(lambda: self._inside == 0)
        self.environment.close()
        with _alone(self.folder.parent):
            for name in ("data.mdb", "lock.mdb"):
                (self.folder / name).unlink(missing_ok=True)
            self._open()
        with self._condition:
            self.usable = True
        return True

    def enter(self) -> bool:
        """Begin an operation, and return whether it may go on.

        False where the store is closing or damaged, or was opened before this process forked.
        """
        if self._process != os.getpid():
            return False
        with self._condition:
            if self.usable:
                self._inside += 1
            return self.usable

    def leave(self) -> None:
        """End an operation that `enter` let begin."""
        with self._condition:
            self._inside -= 1
            self._condition.notify_all()

    def close(self) -> None:
        """Close the store once the last operation has left."""
        if self._process != os.getpid():
            return
        with self._condition:
            self.usable = False
            self._condition.wait_for(lambda: self._inside == 0)
        with contextlib.suppress(lmdb.Error):
            self.environment.close()

    def write(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Store items in one transaction, dropping all that is there where they do not fit."""
        try:
            self._write(items)
        except lmdb.MapFullError:
            # Only a file that was made under a smaller bound, or a reader that stands still, gets this far.
            with self.environment.begin(write=True) as transaction:
                transaction.drop(self._database, delete=False)
            self._write(items)

    def _write(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        with self.environment.begin(write=True) as transaction:
            stat = transaction.stat(self._database)
            pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
            if pages * stat["psize"] > self._max_bytes // 2:
                transaction.drop(self._database, delete=False)
            for place, value in items:
                transaction.put(place, value)


_stores: dict[Path, _Store] = {}
_stores_lock = threading.Lock()


def _acquire(folder: Path, max_bytes: int) -> _Store:
    """Return the store in a folder, which all of this process share; a damaged file is replaced by an empty one."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    booted = folder / _boot()
    with _stores_lock, _alone(folder):
        store = _stores.get(booted)
        if store is not None and store.enter():
            store.users += 1
            store.leave()
            return store
        for last in (False, True):
            try:
                store = _open_store(booted, max_bytes)
                break
            except _DAMAGE as error:
                if last:
                    raise
                logger.warning("The cache in %s is not usable (%s): it is begun anew.", booted, error)
                shutil.rmtree(booted, ignore_errors=True)
        assert store is not None
        _stores[booted] = store
        return store


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time open or delete the files of a cache. Raises `OSError`."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _open_store(booted: Path, max_bytes: int) -> _Store:
    """Open the store of this boot, deleting what other boots left. Raises `lmdb.Error` or `OSError`."""
    for entry in booted.parent.iterdir():
        if entry != booted:
            shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)
    booted.mkdir(exist_ok=True, mode=0o700)
    with contextlib.suppress(FileNotFoundError):
        if (booted / "data.mdb").stat().st_size > max_bytes:
            raise lmdb.InvalidError("the file is larger than the bound it has now")
    return _Store(booted, max_bytes)


def _release(store: _Store) -> None:
    """Close the store after its last user."""
    with _stores_lock:
        store.users -= 1
        if store.users:
            return
        if _stores.get(store.folder) is store:
            del _stores[store.folder]
        store.close()


def _boot() -> str:
    """Return the name of this boot of the machine."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return "boot"  # not Linux: nothing tells one boot from another


def _place(namespace: str, key: bytes) -> bytes:
    """Return the key as it is stored: see the layout above."""
    start = prefix(namespace)
    place = start + b"k" + key
    if len(place) <= _LONGEST_KEY:
        return place
    return start + b"h" + hashlib.sha256(key).digest()


def _unexpired(stored: bytes | None, now: float) -> bytes | None:
    """Return the value without its stamp; `None` where there is none or its lifetime is over."""
    if stored is None or _STAMP.unpack_from(stored)[0] <= now:
        return None
    return stored[_STAMP.size :]
