"""`vedette label`: its verbs, each a module of this room."""

import typer

from operators.cli.labels import follow, give, importing, listing, queue, serve

app = typer.Typer(no_args_is_help=True, help="What analysts say of answers, and what to label next.")


@app.callback()
def label() -> None:
    """What analysts say of answers, and what to label next."""


app.command()(give.give)
app.command("import")(importing.import_labels)
app.command("list")(listing.list_labels)
app.command()(give.show)
app.command()(listing.export)
app.command()(queue.queue)
app.command()(serve.serve)
app.command()(follow.follow)
