"""The `lookalike` command with all its subcommands."""

import typer

from app.cli import bench, catalogue, comparison, duplicates, evaluation, index, keys, quality, serve
from app.cli.images import delete, export, look, search, trash, update
from app.cli.models import quantise, training
from app.cli.terminal import prepare_terminal

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Self-hosted image search: index a catalogue of images and search it by example.",
)
app.callback()(prepare_terminal)
app.command()(serve.serve)
app.command()(index.index)
app.command()(search.search)
app.command()(look.look)
app.command()(update.update)
app.command()(delete.delete)
app.command()(export.export)
app.command()(catalogue.stats)
app.command()(catalogue.demo)
app.command()(duplicates.duplicates)
app.command()(duplicates.distinct)
app.command()(duplicates.merge)
app.command()(catalogue.check)
app.command()(catalogue.sync)
app.command()(catalogue.backup)
app.command()(catalogue.restore)
app.command()(catalogue.migrate)
app.command()(catalogue.reindex)
app.command()(catalogue.adapt)
app.command()(quality.report)
app.command()(training.train)
app.command()(training.make_shards)
app.command()(training.fit)
app.command()(training.calibrate)
app.command()(quantise.quantise)
app.command()(evaluation.evaluate)
app.command()(comparison.compare)
app.command()(bench.bench)
app.command("models")(training.list_models)
app.add_typer(trash.app, name="trash")
app.add_typer(keys.app, name="keys")


if __name__ == "__main__":
    app()
