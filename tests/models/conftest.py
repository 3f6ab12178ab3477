from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.checkpoint.files import describe, save
from models.network.backbones import BACKBONES
from models.network.latent_hash_net import LatentHashNet
from tests.models.folders import COLOURS, splits_of


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Run torch in one thread; threads that wait for each other at every layer are slow on busy cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def checkpoint_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JSON of a checkpoint with ImageNet weights and a random latent layer, for images of 32 pixels."""
    torch.manual_seed(0)
    classes = tuple(sorted(COLOURS))
    preprocess = replace(BACKBONES["efficientnet_lite0"].preprocess, size=32)
    network = LatentHashNet("efficientnet_lite0", 16, len(classes), preprocess)
    network.load_imagenet()
    folder = tmp_path_factory.mktemp("checkpoint")
    save(network, describe(network, "tiny", classes), folder)
    return folder / "tiny.json"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine training and three test images per class, and one unreadable training file."""
    return splits_of(tmp_path_factory.mktemp("pictures"))
