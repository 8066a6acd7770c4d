"""`vedette registry`: its verbs, each a module of this room."""

import typer

from operators.cli.registry import carry, change, exchange, gc, listing, signing

app = typer.Typer(no_args_is_help=True, help="Bundles by digest: push, pull, promote, sign.")


@app.callback()
def registry() -> None:
    """Bundles by digest: push, pull, promote, sign."""


app.command("list")(listing.list_bundles)
app.command()(listing.show)
app.command()(carry.push)
app.command()(carry.pull)
app.command()(change.promote)
app.command()(change.alias)
app.command()(signing.sign)
app.command()(signing.verify)
app.command("export")(exchange.send)
app.command("import")(exchange.receive)
app.command()(gc.gc)
app.add_typer(signing.key_app, name="key")
