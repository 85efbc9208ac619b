"""The environment in which Alembic migrates: on the connection, and in the transaction, that it was handed."""

from alembic import context

from jc1.database.schema import VERSION_TABLE
from jc1.database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, version_table=VERSION_TABLE
)
context.run_migrations()
