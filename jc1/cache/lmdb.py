"""The embedded cache: LMDB, one folder, shared by every thread and process of the machine.

Knows keys, lifetimes, the size bound and what to do with a damaged file. Knows nothing about what the bytes mean.

Layout. Two LMDB databases, `a` and `b`, are the generations. Writes go to the young one; when it holds a quarter of
the bound, the old one is dropped and the two change roles. So what was written longest ago goes first, in one step that
costs nothing a lookup would notice, and half of the file stays free for LMDB's copy-on-write. A key is
`namespace 0x00 k key`, or `namespace 0x00 h SHA-256(key)` where that would be longer than LMDB allows. A value follows
the moment at which it expires, as eight bytes.

Durability. A commit is not flushed to the disk (15 µs; flushed it is 4 ms on a common SSD): a killed process loses
nothing, since the kernel has the pages, but a power cut may tear the file, and LMDB trusts what it reads. So a marker
beside the data names the boot in which it was written, until the last process closes it and flushes; a cache that
another boot left unflushed is put aside and begun anew.
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
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from jc1.cache.base import State, prefix
from jc1.cache.lookups import Lookups

logger = logging.getLogger(__name__)
T = TypeVar("T")

_STAMP = struct.Struct(">d")
_FOREVER = float("inf")
_LONGEST_KEY = 511  # LMDB's own limit, in bytes
_YOUNG = b"young"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# What a file that is not LMDB's, or is damaged inside, makes LMDB raise.
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
                generations = store.generations(transaction)
                return [_unexpired(_first(transaction, place, generations), now) for place in places]

        found = self._attempt("read", read)
        if found is None:
            self.lookups.failed(namespace, len(keys))
            return [None] * len(keys)
        self.lookups.count(namespace, found)
        return found

    def put_many(self, namespace: str, items: Mapping[bytes, bytes], *, ttl: float | None = None) -> None:
        stamp = _STAMP.pack(_FOREVER if ttl is None else self._clock() + ttl)
        chunk: list[tuple[bytes, bytes]] = []
        size = 0
        for key, value in items.items():
            if len(value) > self._chunk:
                self.delete(namespace, key)  # the earlier value is not the key's any more
                continue
            if size + len(value) > self._chunk:
                self._write(chunk)
                chunk, size = [], 0
            chunk.append((_place(namespace, key), stamp + value))
            size += len(value)
        self._write(chunk)

    def delete(self, namespace: str, key: bytes) -> None:
        place = _place(namespace, key)

        def remove(store: _Store) -> None:
            with store.environment.begin(write=True) as transaction:
                for generation in store.generations(transaction):
                    transaction.delete(place, db=generation)

        self._attempt("cleared", remove)

    def clear(self, namespace: str) -> None:
        start = prefix(namespace)

        def remove(store: _Store) -> None:
            with store.environment.begin(write=True) as transaction:
                for generation in store.generations(transaction):
                    with transaction.cursor(db=generation) as cursor:
                        there = cursor.set_range(start)
                        while there and cursor.key().startswith(start):
                            there = cursor.delete()

        self._attempt("cleared", remove)

    def vacuum(self) -> bool:
        """Begin the file anew, empty: LMDB leaves the bytes of removed values in pages that it has not used again.

        Another process that has it open goes on with the old one, which has no name any more and ends with it.
        """
        if self._store is None:
            return False
        try:
            self._store.begin_anew()
        except (lmdb.Error, OSError) as error:
            self._warn("begun anew", error)
            return False
        return True

    def close(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            _release(store)

    def _write(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        if items:
            self._attempt("written", lambda store: store.write(items))

    def _attempt(self, what: str, operation: Callable[[_Store], T]) -> T | None:
        """What the operation returns, or `None` where the store is closed or fails."""
        store = self._store
        if store is None or not store.enter():
            return None
        try:
            return operation(store)
        except lmdb.Error as error:
            self._warn(what, error)
            if what == "cleared" or isinstance(error, _DAMAGE):
                # What cannot be removed must not be found, nor what is damaged. Other threads may be reading the
                # mapped pages, so the file stays open, where no lookup gets to it any more.
                store.usable = False
                _set_aside(store.folder)
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
        self.marker = _mark(folder)
        self._max_bytes = max_bytes
        try:
            self._open()
        except BaseException:
            os.close(self.marker)
            raise
        self._generation_bytes = max_bytes // 4
        self._process = os.getpid()
        self._condition = threading.Condition()
        self._inside = 0

    def _open(self) -> None:
        environment = lmdb.open(
            str(self.folder),
            map_size=self._max_bytes,
            max_dbs=2,
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
            self._databases = {name: environment.open_db(name) for name in (b"a", b"b")}
        except BaseException:
            environment.close()
            raise
        self.environment = environment

    def begin_anew(self) -> None:
        """Close, delete and open the file once the last operation has left; lookups find nothing meanwhile."""
        if self._process != os.getpid():
            return
        with self._condition:
            if not self.usable:
                return
            self.usable = False
            self._condition.wait_for(lambda: self._inside == 0)
        self.environment.close()
        for name in ("data.mdb", "lock.mdb"):
            (self.folder / name).unlink(missing_ok=True)
        self._open()
        with self._condition:
            self.usable = True

    def enter(self) -> bool:
        """Begin an operation. False when the store is closing or damaged, or was opened before this process forked."""
        if self._process != os.getpid():
            return False
        with self._condition:
            if self.usable:
                self._inside += 1
            return self.usable

    def leave(self) -> None:
        with self._condition:
            self._inside -= 1
            self._condition.notify_all()

    def close(self) -> None:
        """Flush and close once the last operation has left."""
        if self._process != os.getpid():
            return
        with self._condition:
            self.usable = False
            self._condition.wait_for(lambda: self._inside == 0)
        with contextlib.suppress(lmdb.Error):
            self.environment.sync(True)
            self.environment.close()
            # Only the last process gets the lock alone, and so only it may say that everything is flushed.
            with contextlib.suppress(OSError):
                fcntl.flock(self.marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(self.marker, 0)
        os.close(self.marker)

    def generations(self, transaction: Any) -> tuple[Any, Any]:
        """The young database and the old one."""
        a, b = self._databases.values()
        return (b, a) if transaction.get(_YOUNG) == b"b" else (a, b)

    def write(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        try:
            self._write(items)
        except lmdb.MapFullError:
            # Only a file that was made under a smaller bound, or a reader that stands still, gets this far.
            with self.environment.begin(write=True) as transaction:
                for database in self._databases.values():
                    transaction.drop(database, delete=False)
            self._write(items)

    def _write(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        with self.environment.begin(write=True) as transaction:
            young, old = self.generations(transaction)
            for place, value in items:
                transaction.put(place, value, db=young)
            stat = transaction.stat(young)
            pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
            if pages * stat["psize"] > self._generation_bytes:
                transaction.drop(old, delete=False)
                transaction.put(_YOUNG, b"b" if old is self._databases[b"b"] else b"a")


_stores: dict[Path, _Store] = {}
_stores_lock = threading.Lock()


def _acquire(folder: Path, max_bytes: int) -> _Store:
    with _stores_lock:
        store = _stores.get(folder)
        if store is not None and store.enter():
            store.users += 1
            store.leave()
            return store
        for last in (False, True):
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                with contextlib.suppress(FileNotFoundError):
                    if (folder / "data.mdb").stat().st_size > max_bytes:
                        raise lmdb.InvalidError("the file is larger than the bound it has now")
                store = _Store(folder, max_bytes)
                break
            except _DAMAGE as error:
                if last:
                    raise
                aside = _set_aside(folder)
                logger.warning("The cache in %s is not usable (%s): moved to %s, begun anew.", folder, error, aside)
        assert store is not None
        _stores[folder] = store
        return store


def _release(store: _Store) -> None:
    with _stores_lock:
        store.users -= 1
        if store.users:
            return
        if _stores.get(store.folder) is store:
            del _stores[store.folder]
        store.close()


def _mark(folder: Path) -> int:
    """Write down in which boot the cache is used, and hold the marker meanwhile. Raises if another boot's is there."""
    try:
        boot = _BOOT_ID.read_bytes().strip()
    except OSError:
        boot = b""  # not Linux: nothing tells one boot from another
    marker = os.open(folder / "boot", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(marker, fcntl.LOCK_SH)
        if os.pread(marker, 100, 0) not in (b"", boot):
            raise lmdb.CorruptedError("the machine stopped before it was flushed")
        os.pwrite(marker, boot, 0)
    except BaseException:
        os.close(marker)
        raise
    return marker


def _set_aside(folder: Path) -> Path:
    aside = folder.with_name(f"{folder.name}.damaged")
    shutil.rmtree(aside, ignore_errors=True)
    with contextlib.suppress(OSError):  # another process was faster
        folder.rename(aside)
    return aside


def _place(namespace: str, key: bytes) -> bytes:
    start = prefix(namespace)
    place = start + b"k" + key
    if len(place) <= _LONGEST_KEY:
        return place
    return start + b"h" + hashlib.sha256(key).digest()


def _first(transaction: Any, place: bytes, generations: Iterable[Any]) -> bytes | None:
    for generation in generations:
        value: bytes | None = transaction.get(place, db=generation)
        if value is not None:
            return value
    return None


def _unexpired(stored: bytes | None, now: float) -> bytes | None:
    if stored is None or _STAMP.unpack_from(stored)[0] <= now:
        return None
    return stored[_STAMP.size :]
