"""Build a labelled data set of 80 small, similar classes: emoji by subcategory from four vendors, 24 to 60 each.

    npm pack emoji-datasource-apple@15.1.2        (and -google, -twitter, -facebook; about 340 MB together)
    python -m benchmarks.synthetic.eighty_kinds FOLDER_OF_ARCHIVES OUT

Writes `OUT/train/KIND/…` and `OUT/test/KIND/…`. The drawings belong to their vendors and are not part of this project.
"""

import argparse
import json
import random
import tarfile
from collections import defaultdict
from pathlib import Path

MAKERS = ("apple", "google", "twitter", "facebook")
VERSION, SIDE = "15.1.2", 64
KINDS, FEWEST, MOST, TOO_FEW = 80, 30, 60, 24


def main() -> None:
    """Read the archives, and write the data set."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("archives", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    drawings = {maker: read(options.archives / f"emoji-datasource-{maker}-{VERSION}.tgz", maker) for maker in MAKERS}
    by_kind: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for entry in json.loads(drawings["apple"]["emoji.json"]):
        for maker in MAKERS:
            if entry["image"] in drawings[maker]:
                by_kind[entry["subcategory"]].append((maker, entry["image"]))
    written = 0
    for kind, split, (maker, image) in choose(by_kind):
        folder = options.out / split / kind
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{maker}-{image}").write_bytes(drawings[maker][image])
        written += 1
    print(f"{written} drawings in {options.out}")


def read(archive: Path, maker: str) -> dict[str, bytes]:
    """Read an archive's list of emoji and drawings, by file name."""
    found: dict[str, bytes] = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            wanted = member.name == "package/emoji.json" or member.name.startswith(f"package/img/{maker}/{SIDE}/")
            content = tar.extractfile(member) if wanted else None
            if content is not None:
                found[Path(member.name).name] = content.read()
    return found


def choose(by_kind: dict[str, list[tuple[str, str]]]) -> list[tuple[str, str, tuple[str, str]]]:
    """Choose the largest classes and a sample of each, a fifth of it for testing; return (kind, split, drawing)."""
    draw = random.Random(0)  # noqa: S311 - reproducible, not secret
    large = {kind: found for kind, found in by_kind.items() if len(found) >= TOO_FEW}
    chosen = []
    for kind in sorted(large, key=lambda kind: -len(large[kind]))[:KINDS]:
        drawings = list(large[kind])
        draw.shuffle(drawings)
        drawings = drawings[: draw.randint(FEWEST, MOST)]
        tests = max(len(drawings) // 5, 3)
        chosen += [(kind, "test" if at < tests else "train", drawing) for at, drawing in enumerate(drawings)]
    return chosen


if __name__ == "__main__":
    main()
