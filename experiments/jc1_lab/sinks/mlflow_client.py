"""The connection to MLflow: opened quietly, bounded in time, its failures in JC1's words.

Knows MLflow's environment, loggers and exceptions. Knows nothing about sweeps. MLflow is imported when a connection is
opened, and nothing that a notebook set for itself is changed: the tracking URI is the client's own.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from jc1.errors import PackageMissing, StorageFull, TrackingUnavailable
from jc1.settings import without_passwords

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SQLITE = "sqlite:///"
_CONNECT_SECONDS = 5
_FIRST = {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(_CONNECT_SECONDS), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
"""For the first request: whether anybody answers is soon known. MLflow itself would try for four minutes."""
_LATER = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "30", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
_ALWAYS = {
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SQLITE_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE}

# MLflow reads it once, when it is imported, by whomever.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


@contextmanager
def connected(uri: str) -> Iterator[MlflowClient]:
    """Yield a client of the MLflow at `uri`, a server's address or a database's URL.

    MLflow's own exceptions do not leave the block; what is raised inside it is translated likewise.

    Raises:
        PackageMissing: MLflow is not installed.
        StorageFull: The disk is full.
        TrackingUnavailable: Nobody answers within seconds.
    """
    with _environment(_ALWAYS | _LATER), _quiet(), _translated(uri):
        try:
            from mlflow import MlflowClient
        except ImportError:
            raise PackageMissing(
                "MLflow is not installed, and the lab needs it. Next step: make install-dev."
            ) from None
        with _environment(_FIRST):
            _connect_once(uri)
            client = MlflowClient(uri, registry_uri=uri)
            client.search_experiments(max_results=1)
        yield client


def sqlite_path(uri: str) -> Path | None:
    """Return the file of an SQLite URL, `None` for any other."""
    return Path(uri.removeprefix(_SQLITE).partition("?")[0]) if uri.startswith(_SQLITE) else None


def artifact_location(uri: str) -> str | None:
    """Return where artifacts of a new experiment lie: beside the SQLite file; a server decides for itself (`None`)."""
    path = sqlite_path(uri)
    return (path.absolute().parent / "mlartifacts").as_uri() if path else None


def _connect_once(uri: str) -> None:
    """Connect to a database once: MLflow would try ten times, for two minutes."""
    import sqlalchemy

    if uri.startswith(("http://", "https://", "file:")) or "://" not in uri:
        return
    if path := sqlite_path(uri):
        path.parent.mkdir(parents=True, exist_ok=True)
    patience = {"connect_timeout": _CONNECT_SECONDS} if uri.startswith("postgresql") else {}
    engine = sqlalchemy.create_engine(uri, connect_args=patience)
    try:
        sqlalchemy.inspect(engine).get_table_names()
    finally:
        engine.dispose()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set these variables within the block: MLflow reads them when it acts, from nowhere else."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence MLflow and Alembic, which write of migrations and retries, the latter with the URI and its password."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(ImportError):
            import mlflow.utils.logging_utils  # noqa: F401 - sets the level of its loggers once, when imported
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def _translated(uri: str) -> Iterator[None]:
    import sqlalchemy.exc

    shown = without_passwords(uri)
    try:
        yield
    except (OSError, sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        raise _unavailable(error, shown) from None
    except Exception as error:
        from mlflow.exceptions import MlflowException

        if not isinstance(error, MlflowException):
            raise
        raise _unavailable(error, shown) from None


def _unavailable(error: BaseException, shown: str) -> StorageFull | TrackingUnavailable:
    if any(_is_full(cause) for cause in _causes(error)):
        return StorageFull(f"The disk is full, so MLflow at {shown} has not everything: make room, then log again.")
    status = getattr(error, "get_http_status_code", lambda: None)()
    if status in (401, 403):
        return TrackingUnavailable(
            f"MLflow at {shown} refuses these credentials: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, "
            "or MLFLOW_TRACKING_TOKEN."
        )
    return TrackingUnavailable(
        f"MLflow at {shown} does not answer or failed ({type(error).__name__}): start it, or correct JC1_TRACKING_URI; "
        "what was measured is kept in the sweep's folder."
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception, what it wraps and what it came from, each once."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        current = waiting.pop()
        if current is not None and id(current) not in seen:
            seen.add(id(current))
            yield current
            waiting += [current.__cause__, current.__context__, getattr(current, "orig", None)]


def _is_full(error: BaseException) -> bool:
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) in _SQLITE_FULL
    return isinstance(error, OSError) and error.errno in _FULL
