"""`vedette audit`: its verbs, each a module of this room."""

import typer

from operators.cli.audit import acts, archive, erase, export, key, query, receipt, replay, retention, tail, verify

app = typer.Typer(no_args_is_help=True, help="What was answered and done, and the proof that nobody changed it.")


@app.callback()
def audit() -> None:
    """What was answered and done, and the proof that nobody changed it."""


app.command()(verify.verify)
app.command()(receipt.receipt)
app.command()(export.export)
app.command()(acts.acts)
app.command()(replay.replay)
app.command()(query.query)
app.command()(archive.archive)
app.command()(erase.erase)
app.command()(tail.tail)
app.add_typer(key.app, name="key")
app.add_typer(retention.app, name="retention")
app.add_typer(retention.holds, name="hold")
