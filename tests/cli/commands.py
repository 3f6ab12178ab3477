"""Run commands in tests, and the keys of the catalogue that most of them use."""

from lookalike_client import Lookalike
from typer.testing import CliRunner, Result

from app.cli.main import app
from app.settings import Settings

KEYS = [f"sku-{at}" for at in range(6)]


def run(settings: Settings, *words: str, answer: str | None = None) -> Result:
    environment = {
        "LOOKALIKE_DATA_DIR": str(settings.data_dir),
        "LOOKALIKE_DATABASE_URL": str(settings.database_url),
        "LOOKALIKE_URL": None,
        "LOOKALIKE_API_KEY": None,
        "COLUMNS": "200",
    }
    return CliRunner().invoke(app, words, env=environment, input=answer)


def keys_of(client: Lookalike) -> list[str]:
    return [image.key for image in client.list()]
