"""Pictures that were seen: what is kept of each beside the record that tells of it.

Knows the table and its one bound. Knows nothing about how a thumbnail is made (`jc1.vision.remembered`), or about
deleting: a picture goes with its record.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, insert, select

from jc1.database.tables import MAX_PLACE, pictures, records
from jc1.errors import NoPicture, RequestTooLarge, UnknownRecord
from jc1.memory import queries
from jc1.memory.base import SeenPicture
from jc1.texts import as_text

MAX_THUMBNAIL = 65_536
"""Most bytes of a thumbnail: one of 256 pixels takes about 15,000."""
JPEG = b"\xff\xd8\xff"
"""How a thumbnail begins."""

_KEPT = select(
    pictures.c.record, records.c.picture, pictures.c.width, pictures.c.height, pictures.c.source, pictures.c.thumbnail
).join_from(pictures, records)


def check(picture: SeenPicture) -> SeenPicture:
    """Return a picture as it is kept. Raises `RequestTooLarge` for a thumbnail of more bytes than one has."""
    if len(picture.thumbnail) > MAX_THUMBNAIL:
        raise RequestTooLarge(f"The thumbnail has {len(picture.thumbnail):,} bytes, {MAX_THUMBNAIL:,} are kept.")
    source = as_text(picture.source)[:MAX_PLACE]
    return SeenPicture(picture.sha256, picture.width, picture.height, source, picture.thumbnail)


def store(connection: Connection, new: Iterable[tuple[str, SeenPicture]]) -> None:
    """Keep pictures, each with the id of its record, which is there."""
    rows = [
        {
            "record": record,
            "width": picture.width,
            "height": picture.height,
            "source": picture.source,
            "thumbnail": picture.thumbnail,
        }
        for record, picture in new
    ]
    if rows:
        connection.execute(insert(pictures), rows)


def read(connection: Connection, owner: str, record_id: str) -> SeenPicture:
    """Return the picture that a record tells of. Raises `UnknownRecord`, and `NoPicture` where it tells of none."""
    record = queries.read(connection, owner, record_id)
    if record.picture is None:
        raise NoPicture(record_id)
    kept = of(connection, [record.id])
    if record.id not in kept:  # purged meanwhile
        raise UnknownRecord(record_id)
    return kept[record.id]


def of(connection: Connection, ids: Sequence[str]) -> dict[str, SeenPicture]:
    """Return the pictures of those records that tell of one, by id."""
    rows = connection.execute(_KEPT.where(pictures.c.record.in_(ids))).all() if ids else ()
    return {
        row.record: SeenPicture(row.picture, row.width, row.height, row.source, bytes(row.thumbnail)) for row in rows
    }
