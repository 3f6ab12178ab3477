"""`lookalike train --catalogue`: a network that learns the catalogue's labels, compared with the one in use."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli.output_guard import refuse_finished
from app.cli.terminal import console, counting, fail
from app.settings import Settings

if TYPE_CHECKING:
    from app.quality.compare import Verdict
    from app.quality.labelled import Labelled
    from models.checkpoint.info import CheckpointInfo
    from models.data.dataset import Splits

Train = Callable[["Path | Splits", Path, dict[str, Any]], None]
Read = Callable[[str], bytes]


@dataclass(frozen=True)
class _Found:
    """What the catalogue has to learn from, and its network."""

    labelled: "Labelled"
    network: "CheckpointInfo"
    model: str


def improve(out: Path, chosen: dict[str, Any], train: Train) -> None:
    """Trains on the catalogue's labels, says whether that finds more, and how to use it if so."""
    from app.catalogue.storage.open import open_pictures
    from app.quality.improve import recipe_for, splits
    from app.quality.labelled import keep, kept

    settings = Settings()
    # A run that was stopped goes on with what it began with, whatever was added to the catalogue meanwhile.
    unfinished, selection = out.with_name(f"{out.name}.unfinished.safetensors"), out.with_name(f"{out.name}.data.json")
    # Stopped while it compared, a run has left a network that nobody uses, and begins anew.
    if not selection.exists():
        refuse_finished(out)
    found = _look(settings, out, kept(selection) if unfinished.exists() and selection.exists() else None)
    read = open_pictures(settings.storage_url, settings.data_dir).read
    source = splits(found.labelled, read)
    keep(found.labelled, selection)
    train(source, out, recipe_for(found.network, found.model, chosen))
    verdict = _judge(settings, out, found.labelled, read)
    selection.unlink(missing_ok=True)
    console().print(str(verdict), soft_wrap=True)
    if verdict.better:
        console().print(
            f"`lookalike reindex {out}` moves the catalogue to it; searches go on meanwhile.", soft_wrap=True
        )
    else:
        console().print("The catalogue is better left with the network that it uses.")


def _look(settings: Settings, out: Path, begun: "Labelled | None") -> _Found:
    """Reads what there is to learn, and says what is left out."""
    from app.bootstrap import open_database
    from app.catalogue import generations
    from app.quality.labelled import enough, read_labelled
    from models.checkpoint.info import find, read_info

    with open_database(settings) as database, database.snapshot() as session:
        if generations.uses(session, Path(f"{out}.json")):
            fail(f"{out} is a network that the catalogue uses or can move back to. Name another place with --out.")
        labelled, notes = (begun, []) if begun else enough(read_labelled(session))
        model = generations.model_for(session, None)
    for note in notes:
        console().print(note)
    return _Found(labelled, read_info(find(model)), model)


def _judge(settings: Settings, out: Path, labelled: "Labelled", read: Read) -> "Verdict":
    """Has the held-out pictures search among the others, with the network in use and with the new one."""
    from app.bootstrap import open_database
    from app.maintenance.tools import open_content
    from app.model_switch.networks import open_network
    from app.quality.improve import in_use, judge

    with (
        open_content(settings) as (content, vectors, network),
        open_database(settings) as database,
        database.asking() as session,
    ):
        before = in_use(session, labelled, content, vectors, network, settings.search_pool)
    with open_network(settings, f"{out}.json") as new, counting("comparing") as report:
        return judge(before, new.info, new.prepare, new.encoder, read, settings.search_pool, report)
