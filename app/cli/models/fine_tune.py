"""`lookalike train --catalogue`: fine-tune on the catalogue's labels and compare with the model in use."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli.output_guard import refuse_finished
from app.cli.terminal import console, fail, progress_counter
from app.settings import Settings

if TYPE_CHECKING:
    from app.quality.compare import Verdict
    from app.quality.labelled import Labelled
    from models.checkpoint.info import CheckpointInfo
    from models.data.dataset import Splits

Train = Callable[["Path | Splits", Path, dict[str, Any]], None]
Read = Callable[[str], bytes]


@dataclass(frozen=True)
class _TrainingSet:
    """The catalogue's labelled images, and the model in use: its info, and its name or path."""

    labelled: "Labelled"
    network: "CheckpointInfo"
    model: str


def fine_tune_on_catalogue(out: Path, options: dict[str, Any], products: str | None, train: Train) -> None:
    """Train on the catalogue's labels, compare with the model in use, and print the result and the next step.

    `products` is the metadata field that is equal for images of one product.
    """
    from app.catalogue.storage.factory import open_storage
    from app.quality.fine_tune import training_options, training_splits
    from app.quality.labelled import load_selection, save_selection

    settings = Settings()
    # An interrupted run continues with the images it started with, whatever was added to the catalogue meanwhile.
    unfinished, selection = out.with_name(f"{out.name}.unfinished.safetensors"), out.with_name(f"{out.name}.data.json")
    # A run that stopped during the comparison has left its selection and an unused checkpoint: train again.
    if not selection.exists():
        refuse_finished(out)
    resuming = unfinished.exists() and selection.exists()
    data = _load_training_set(settings, out, products, load_selection(selection) if resuming else None)
    read = open_storage(settings.storage_url, settings.data_dir).read
    source = training_splits(data.labelled, read)
    save_selection(data.labelled, selection)
    train(source, out, training_options(data.network, data.model, options))
    verdict = _compare_with_current(settings, out, data.labelled, read)
    selection.unlink(missing_ok=True)
    console().print(str(verdict), soft_wrap=True)
    if verdict.better:
        console().print(
            f"`lookalike reindex {out}` switches the catalogue to it; searches continue meanwhile.", soft_wrap=True
        )
    else:
        console().print("Keep the model that the catalogue uses.")


def _load_training_set(settings: Settings, out: Path, products: str | None, resumed: "Labelled | None") -> _TrainingSet:
    """Read the labelled images, unless a run is `resumed` with its own, and print which labels are left out."""
    from app.bootstrap import open_database
    from app.catalogue import index_versions
    from app.quality.labelled import drop_rare_labels, read_labelled
    from models.checkpoint.info import find_checkpoint, read_info

    with open_database(settings) as database, database.snapshot() as session:
        if index_versions.is_checkpoint_used(session, Path(f"{out}.json")):
            fail(f"{out} is a model that the catalogue uses or can switch back to. Choose another path with --out.")
        labelled, warnings = (resumed, []) if resumed else drop_rare_labels(read_labelled(session, products))
        model = index_versions.select_model(session, None)
    for warning in warnings:
        console().print(warning)
    return _TrainingSet(labelled, read_info(find_checkpoint(model)), model)


def _compare_with_current(settings: Settings, out: Path, labelled: "Labelled", read: Read) -> "Verdict":
    """Compare the new model with the one in use, with the held-out images as queries over the others."""
    from app.bootstrap import open_database
    from app.maintenance.tools import open_content
    from app.model_switch.networks import open_network
    from app.quality.fine_tune import compare_with_current, current_encodings

    with (
        open_content(settings) as (content, vectors, network, _),
        open_database(settings) as database,
        database.read_session() as session,
    ):
        current = current_encodings(session, labelled, content, vectors, network, settings.search_pool)
    with open_network(settings, f"{out}.json") as new, progress_counter("comparing") as report:
        return compare_with_current(current, new.info, new.preparer, new.encoder, read, settings.search_pool, report)
