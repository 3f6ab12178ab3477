"""What an evaluation says about the labels: those that are confused, and images whose label is probably wrong."""

from pathlib import Path
from typing import Any

import numpy as np

from models.evaluation.encode_files import Encoded
from models.evaluation.label_errors import K, find_confusions, find_suspects, nearest
from models.reports.images import Sample

# Images that are shown, and neighbours beside each.
SHOWN, BESIDE = 12, 5


def measure_labels(
    queries: Encoded, database: Encoded, classes: tuple[str, ...], folder: Path
) -> tuple[dict[str, Any], list[Sample]]:
    """Find confused labels and suspicious images among all images of an evaluation.

    Neighbours are those by F7 with ImageNet weights, if it was computed: a network that learnt the labels has learnt
    the wrong ones too.

    Returns:
        The entry `labels` of `metrics.json`, and the suspicious images with their neighbours.
    """
    both = (queries, database)
    own = np.concatenate([side.labels for side in both])
    paths = [path for side in both for path in side.paths]
    untrained = [side.imagenet for side in both if side.imagenet is not None]
    is_untrained = len(untrained) == len(both)
    features = np.concatenate(untrained if is_untrained else [side.features for side in both])
    rows = nearest(features)
    suspects = find_suspects(own, own[rows], np.bincount(own, minlength=len(classes)))
    found = {
        "neighbours": K,
        "untrained": is_untrained,
        "confused": [
            {"label": classes[one.label], "other": classes[one.other], "images": one.images, "of": one.of}
            for one in find_confusions(own, own[rows])
        ],
        "suspects": [
            {
                "file": paths[one.query].relative_to(folder).as_posix(),
                "label": classes[one.label],
                "suggested": classes[one.suggested],
                "votes": one.votes,
            }
            for one in suspects
        ],
    }
    pictures = [
        Sample(
            paths[one.query],
            {"suspects": [(paths[row], bool(own[row] == one.label)) for row in rows[one.query, :BESIDE]]},
        )
        for one in suspects[:SHOWN]
    ]
    return found, pictures
