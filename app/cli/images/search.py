"""`lookalike search`: search with images, through a running service or in this process."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from app.cli.images.files import read_image_file
from app.cli.terminal import console, exit_on_error, fail, notice
from app.search.examples import Example, Upload, make_examples, parse_reference
from app.settings import Settings

if TYPE_CHECKING:
    from lookalike_client import Lookalike
    from lookalike_client.requests import SearchOptions as ServiceOptions

    from app.search.words import TextQuery

# Columns that are no metadata, unless an image has a field of that name.
_OWN_COLUMNS = ("id", "distance", "hamming")
_NEEDS_KEY = (401, 403)


@dataclass(frozen=True)
class Hit:
    """A search result, from a service or from this process.

    Attributes:
        similarity: from 0 to 1; None if the model is not calibrated.
        similarity_band: its name for people.
        distance: L2 distance of F7.
        hamming: the number of bits in which the codes differ.
    """

    id: int
    key: str
    label: str | None
    similarity: float | None
    distance: float
    hamming: int
    metadata: dict[str, Any]
    similarity_band: str | None = None


@dataclass(frozen=True)
class Options:
    """What a service and this process search for alike."""

    k: int
    symmetric: bool
    words: "TextQuery | None"


def search(
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[IMAGE]...", help="Image files to find together, at most 16 examples."),
    ] = None,
    like: Annotated[
        list[str] | None,
        typer.Option(
            help="Id or key of an image of the catalogue to find too; the key 17 is written key:17. May be repeated."
        ),
    ] = None,
    unlike: Annotated[
        list[str] | None, typer.Option(help="Id or key of an image of the catalogue to avoid. May be repeated.")
    ] = None,
    unlike_image: Annotated[list[Path] | None, typer.Option(help="An image file to avoid. May be repeated.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="Maximum number of results.")] = 10,
    fields: Annotated[
        list[str] | None,
        typer.Option(
            help="Metadata fields to show, separated by commas; `id`, `distance` and `hamming` are possible too. May "
            "be repeated."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the results as JSON, with all metadata, instead of a table.")
    ] = False,
    text: Annotated[
        str | None,
        typer.Option(help='Only images with these words in key, label or metadata, such as `red "ankle boot"`.'),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            help="Order the results by `key`, `label`, `added` or a metadata field instead of similarity, with a "
            "leading `-` descending: `--sort=-price`."
        ),
    ] = None,
    symmetric: Annotated[
        bool, typer.Option("--symmetric", help="Order candidates by Hamming distance, not by asymmetric distance.")
    ] = False,
    url: Annotated[
        str | None,
        typer.Option(help="Address of the service to search. Default: LOOKALIKE_URL, or the data folder's service."),
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(help="Its API key. Prefer LOOKALIKE_API_KEY, which process lists do not show.")
    ] = None,
) -> None:
    """Search the catalogue for images that look like one or several examples: files, or images of the catalogue.

    A service that runs on the same data folder answers at once. Without one, or without an API key that it accepts,
    this command opens the catalogue itself, which takes seconds.
    """
    with exit_on_error():
        settings = Settings()
        url, key = url or settings.url, api_key or settings.api_key
        from app.cli.images.connection import connect, require_url
        from app.search.sorting import parse_sort, sorted_images
        from app.search.words import parse_text

        require_url(url)
        options = Options(k, symmetric, None if text is None else parse_text(text))
        order = None if sort is None else parse_sort(sort)
        examples = _examples(images or (), unlike_image or (), like or (), unlike or ())
        if url is not None:
            with connect(url, key) as client:
                hits = _from_service(client, examples, options)
        else:
            found = _from_running_service(settings, key, examples, options)
            hits = found if found is not None else _from_catalogue(settings, examples, options)
        if order is not None:
            hits = sorted_images(order, hits, lambda hit: (hit.id, hit.key, hit.label, hit.metadata))
        _show(hits, [name.strip() for names in fields or () for name in names.split(",") if name.strip()], as_json)


def _examples(
    images: Sequence[Path], unlike_images: Sequence[Path], like: Sequence[str], unlike: Sequence[str]
) -> list[Example]:
    return make_examples(
        {
            "image": [_upload(path) for path in images],
            "unlike_image": [_upload(path) for path in unlike_images],
            "like": [parse_reference(text) for text in like],
            "unlike": [parse_reference(text) for text in unlike],
        },
        {},
    )


def _upload(path: Path) -> Upload:
    data = read_image_file(path)
    return Upload(str(path), lambda: data)


def _from_service(client: "Lookalike", examples: Sequence[Example], options: Options) -> list[Hit]:
    parameters: ServiceOptions = {"k": options.k}
    if options.symmetric:
        parameters["asymmetric"] = False
    if options.words is not None:
        parameters["text"] = options.words.text
    like, unlike = (
        [
            Path(one.source.name) if isinstance(one.source, Upload) else one.source
            for one in examples
            if one.unlike == side
        ]
        for side in (False, True)
    )
    return [
        Hit(
            match.id,
            match.key,
            match.label,
            match.similarity,
            match.distance,
            match.hamming,
            dict(match.metadata),
            match.similarity_band,
        )
        for match in client.search(like=like, unlike=unlike, **parameters).matches
    ]


def _from_running_service(
    settings: Settings, key: str | None, examples: Sequence[Example], options: Options
) -> list[Hit] | None:
    """Search with the service that runs on the catalogue; None if there is none, or it rejects the key."""
    from lookalike_client import ClientError, Lookalike, ProblemError, UnreachableError

    from app.cli.images.connection import running_service

    url = running_service(settings)
    if url is None:
        return None
    try:
        with Lookalike(url, key) as client:
            return _from_service(client, examples, options)
    except ProblemError as error:
        if error.status not in _NEEDS_KEY:
            fail(str(error))
        notice(f"The service at {url} is not used: {error} Set LOOKALIKE_API_KEY to a key with the scope search.")
    except UnreachableError as error:
        notice(str(error))
    except ClientError as error:
        fail(str(error))
    return None


def _from_catalogue(settings: Settings, examples: Sequence[Example], options: Options) -> list[Hit]:
    from app.bootstrap import open_service
    from app.search.types import SearchOptions
    from models.checkpoint.similarity import band_of

    with open_service(settings) as service:
        wanted = SearchOptions(k=options.k, asymmetric=not options.symmetric, words=options.words)
        matches = service.searcher.by_examples(examples, wanted).matches
    return [
        Hit(
            match.id,
            row.key,
            row.label,
            match.similarity,
            match.distance,
            match.hamming,
            row.metadata,
            None if match.similarity is None else band_of(match.similarity).name,
        )
        for match, row in matches
    ]


def _show(hits: Sequence[Hit], fields: Sequence[str], as_json: bool) -> None:
    if as_json:
        # ASCII, so that every terminal and pipe takes it.
        console().print(json.dumps({"results": [asdict(hit) for hit in hits]}), soft_wrap=True)
        return
    calibrated = all(hit.similarity is not None for hit in hits)
    table = Table("similarity" if calibrated else "distance", "key", "label", *fields)
    for hit in hits:
        nearness = f"{hit.similarity:.3f} {hit.similarity_band or ''}" if calibrated else f"{hit.distance:.4f}"
        table.add_row(nearness, hit.key, hit.label or "", *(_cell(hit, name) for name in fields))
    console().print(table)
    unknown = [name for name in fields if name not in _OWN_COLUMNS and not any(name in hit.metadata for hit in hits)]
    if unknown and hits:
        notice(f"No result has the field {', '.join(unknown)}.")


def _cell(hit: Hit, field: str) -> str:
    """Return the text of a field: of the metadata, or else of the result itself."""
    if field not in hit.metadata and field in _OWN_COLUMNS:
        value: Any = getattr(hit, field)
        return f"{value:.4f}" if isinstance(value, float) else str(value)
    value = hit.metadata.get(field, "")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
