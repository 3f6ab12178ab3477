"""The network's runtimes against each other, and the queue in front of them with a runtime that can be held."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice, repeat
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from app.demo import demo_pictures
from app.errors import UnavailableError
from app.search.encode.batching import BATCH, BatchingEncoder, open_encoder
from app.search.encode.runtimes import TorchRuntime
from models.network.backbones import BACKBONES
from models.network.latent_hash_net import LatentHashNet
from models.network.openvino_runtime import OpenVinoRuntime, convert
from models.network.preprocess import Preprocess

# OpenVINO's converter traces the network, as torch would no longer have it.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.trace:DeprecationWarning")

SOON = 30
SIDE = 4
PREPROCESS = Preprocess(SIDE, "stretch", (0, 0, 0), (1, 1, 1))


@pytest.fixture(scope="module")
def network() -> LatentHashNet:
    """ImageNet's EfficientNet with a latent layer at random, F7 at length one."""
    torch.manual_seed(0)
    backbone = BACKBONES["efficientnet_lite0"]
    made = LatentHashNet(backbone.name, 64, 0, replace(backbone.preprocess, size=160), "unit")
    made.load_imagenet()
    return made.eval()


@pytest.fixture(scope="module")
def pictures(network: LatentHashNet) -> NDArray[np.uint8]:
    return np.stack([network.preprocess(picture.image) for picture in islice(demo_pictures(), 19)])


@pytest.fixture(scope="module")
def openvino(network: LatentHashNet) -> OpenVinoRuntime:
    return OpenVinoRuntime(convert(network))


def test_openvino_computes_what_torch_does(
    network: LatentHashNet, openvino: OpenVinoRuntime, pictures: NDArray[np.uint8]
) -> None:
    expected, found = TorchRuntime(network, "cpu")(pictures), openvino(pictures)
    for theirs, ours in zip(expected, found, strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * float(np.abs(theirs).max()))
    clear = np.abs(expected[0] - 0.5) > 1e-5
    assert clear.mean() > 0.99
    np.testing.assert_array_equal((found[0] > 0.5)[clear], (expected[0] > 0.5)[clear])
    np.testing.assert_allclose(np.linalg.norm(found[1], axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("batch", [1, 2, 3, BATCH])
def test_a_picture_s_result_does_not_depend_on_its_batch_nor_on_the_cores(
    openvino: OpenVinoRuntime, pictures: NDArray[np.uint8], batch: int
) -> None:
    together = openvino(pictures)
    for run in (openvino, openvino.on_one_core):
        parts = [run(pictures[first : first + batch]) for first in range(0, len(pictures), batch)]
        for column in (0, 1):
            np.testing.assert_array_equal(np.concatenate([part[column] for part in parts]), together[column])


class HeldRuntime:
    """A network that waits at its first batch until it is let go; a picture's F7 is its first pixel."""

    def __init__(self, lanes: int = 1) -> None:
        self.lanes = lanes
        self.batches: list[list[int]] = []
        self.narrow: list[list[int]] = []
        self.reached, self.go = threading.Event(), threading.Event()

    def __call__(self, pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        tones = pictures[:, 0, 0, 0]
        self.batches.append(tones.tolist())
        self.reached.set()
        assert self.go.wait(SOON)
        if 13 in tones:
            raise ArithmeticError("a bad batch")
        return np.unpackbits(tones[:, None], axis=1).astype(np.float32), tones[:, None].astype(np.float32)

    def on_one_core(self, pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.narrow.append(pictures[:, 0, 0, 0].tolist())
        return self(pictures)


@contextmanager
def encoding(runtime: HeldRuntime) -> Iterator[tuple[BatchingEncoder, ThreadPoolExecutor]]:
    encoder = BatchingEncoder(runtime, PREPROCESS)
    with ThreadPoolExecutor(64) as callers:
        try:
            yield encoder, callers
        finally:
            runtime.go.set()
            encoder.close()


def picture(tone: int) -> Image.Image:
    return Image.new("RGB", (9, 7), (tone, 0, 0))


def tones(encoder: BatchingEncoder, wanted: Sequence[int]) -> list[int]:
    """Adds pictures and returns the tones that come back in F7."""
    encoded = encoder.encode_many([picture(tone) for tone in wanted])
    assert encoded.codes[:, 0].tolist() == encoded.features[:, 0].tolist()
    return [int(tone) for tone in encoded.features[:, 0]]


def tone(encoder: BatchingEncoder, wanted: int) -> int:
    """Searches for a picture and returns the tone that comes back in F7."""
    encoded = encoder.encode_one(picture(wanted)).result()
    assert encoded.codes.shape == encoded.features.shape == (1, 1)
    assert encoded.codes[0, 0] == encoded.features[0, 0]
    return int(encoded.features[0, 0])


def waiting(callers: ThreadPoolExecutor, *calls: Callable[[], object]) -> list[Future[object]]:
    """Starts calls that cannot end yet, and gives them time to get in line."""
    futures = [callers.submit(call) for call in calls]
    time.sleep(0.15)
    return futures


def test_a_lone_picture_is_a_batch_of_its_own() -> None:
    runtime = HeldRuntime()
    runtime.go.set()
    with encoding(runtime) as (encoder, _):
        assert encoder.size == SIDE
        assert tone(encoder, 42) == 42
    assert runtime.batches == [[42]]
    assert runtime.narrow == []


def test_pictures_that_come_together_go_to_a_core_each() -> None:
    runtime = HeldRuntime(lanes=2)
    with encoding(runtime) as (encoder, callers):
        first = waiting(callers, lambda: tone(encoder, 1))
        second = waiting(callers, lambda: tone(encoder, 2))
        assert runtime.batches == [[1], [2]]
        assert runtime.narrow == [[2]]
        later = waiting(callers, *[lambda at=at: tone(encoder, at) for at in (3, 4, 5, 6)])
        runtime.go.set()
        assert [future.result(SOON) for future in first + second + later] == [1, 2, 3, 4, 5, 6]
    assert max(map(len, runtime.narrow)) == 2
    assert sorted(chain(*runtime.batches)) == [1, 2, 3, 4, 5, 6]


def test_searches_that_wait_share_batches_and_get_their_own_results() -> None:
    runtime = HeldRuntime()
    with encoding(runtime) as (encoder, callers):
        wanted = list(range(100, 141))
        calls = [lambda wanted=wanted: tone(encoder, wanted) for wanted in wanted]
        futures = waiting(callers, *calls)
        runtime.go.set()
        assert [future.result(SOON) for future in futures] == wanted
    assert len(runtime.batches) <= 15
    assert max(map(len, runtime.batches)) == BATCH


def test_additions_keep_their_order_over_several_batches() -> None:
    runtime = HeldRuntime()
    runtime.go.set()
    with encoding(runtime) as (encoder, _):
        assert tones(encoder, range(200, 221)) == list(range(200, 221))
    assert [tone for batch in runtime.batches for tone in batch] == list(range(200, 221))
    assert max(map(len, runtime.batches)) == BATCH


def test_a_search_goes_before_waiting_additions() -> None:
    runtime = HeldRuntime()
    with encoding(runtime) as (encoder, callers):
        futures = waiting(callers, lambda: tone(encoder, 1))
        futures += waiting(callers, lambda: tones(encoder, range(100, 124)))
        futures += waiting(callers, lambda: tone(encoder, 2))
        runtime.go.set()
        for future in futures:
            future.result(SOON)
    assert runtime.batches[0] == [1]
    assert 2 in runtime.batches[1]
    assert sum(len(batch) for batch in runtime.batches) == 26


def test_an_error_reaches_everyone_who_waits_for_that_batch_and_nobody_else() -> None:
    runtime = HeldRuntime()
    with encoding(runtime) as (encoder, callers):
        first = waiting(callers, lambda: tone(encoder, 1))
        bad = waiting(callers, *[lambda: tone(encoder, 13)] * 3)
        runtime.go.set()
        assert first[0].result(SOON) == 1
        for future in bad:
            with pytest.raises(ArithmeticError, match="a bad batch"):
                future.result(SOON)
        assert tone(encoder, 5) == 5


def test_closing_answers_whoever_waits() -> None:
    runtime = HeldRuntime()
    with encoding(runtime) as (encoder, callers):
        futures = waiting(callers, lambda: tone(encoder, 1), lambda: tone(encoder, 2))
        futures += waiting(callers, lambda: tones(encoder, range(20)[3:12]))
        closed = waiting(callers, encoder.close)[0]
        assert not closed.done()
        runtime.go.set()
        assert {futures[0].result(SOON), futures[1].result(SOON)} == {1, 2}
        assert futures[2].result(SOON) == list(range(3, 12))
        closed.result(SOON)


def test_after_closing_nobody_hangs() -> None:
    runtime = HeldRuntime()
    runtime.go.set()
    encoder = BatchingEncoder(runtime, PREPROCESS)
    encoder.close()
    encoder.close()
    with pytest.raises(UnavailableError):
        encoder.encode_one(picture(1))
    with pytest.raises(UnavailableError):
        encoder.encode_many([picture(1)])
    assert runtime.batches == []


def test_opening_meets_every_size_of_batch_on_every_lane_largest_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runtime = HeldRuntime(lanes=3)
    runtime.go.set()
    monkeypatch.setattr("app.search.encode.batching.open_runtime", lambda *_: runtime)
    encoder, _ = open_encoder("general", "cpu", "f32", tmp_path)
    encoder.close()
    sizes = [len(batch) for batch in runtime.narrow]
    assert sizes == [size for batch in range(BATCH, 0, -1) for size in repeat(batch, 3)]
