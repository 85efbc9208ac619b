"""`jc1 memory`: what is remembered, seen, changed, forgotten and carried elsewhere.

Lists the commands, in the order of `--help`. The engine is not started: the database is enough.
"""

from __future__ import annotations

import typer

from jc1.cli.memory import documents, exchange, forgetting, records

app = typer.Typer(help="See, change and forget what is remembered.", no_args_is_help=True)
app.command("list")(records.list_)
for _command in (
    records.search,
    records.show,
    documents.ingest,
    records.add,
    records.edit,
    records.pin,
    records.unpin,
    records.exclude,
    records.include,
    forgetting.forget,
    forgetting.restore,
    forgetting.purge,
):
    app.command()(_command)
app.command("export")(exchange.export_)
app.command("import")(exchange.import_)
app.command()(records.stats)
