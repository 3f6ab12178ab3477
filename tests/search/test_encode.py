"""Runtimes compared with each other, and the batching encoder with a runtime that can be blocked."""

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

from app.demo import demo_images
from app.errors import UnavailableError
from app.search.encode.batching import MAX_BATCH, BatchingEncoder, open_encoder
from app.search.encode.runtimes import TorchRuntime
from models.network.backbones import BACKBONES
from models.network.latent_hash_net import LatentHashNet
from models.network.openvino_runtime import OpenVinoRuntime, convert

# OpenVINO's converter uses torch's deprecated tracing.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.trace:DeprecationWarning")

TIMEOUT_S = 30
SIDE = 4


@pytest.fixture(scope="module")
def network() -> LatentHashNet:
    """EfficientNet with ImageNet weights and a random latent layer; F7 of unit length."""
    torch.manual_seed(0)
    backbone = BACKBONES["efficientnet_lite0"]
    made = LatentHashNet(backbone.name, 64, 0, replace(backbone.preprocess, size=160), "unit")
    made.load_imagenet()
    return made.eval()


@pytest.fixture(scope="module")
def images(network: LatentHashNet) -> NDArray[np.uint8]:
    return np.stack([network.preprocess(drawing.image) for drawing in islice(demo_images(), 19)])


@pytest.fixture(scope="module")
def openvino(network: LatentHashNet) -> OpenVinoRuntime:
    return OpenVinoRuntime(convert(network))


def test_openvino_equals_torch(network: LatentHashNet, openvino: OpenVinoRuntime, images: NDArray[np.uint8]) -> None:
    expected, found = TorchRuntime(network, "cpu")(images), openvino(images)
    for theirs, ours in zip(expected, found, strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * float(np.abs(theirs).max()))
    clear = np.abs(expected[0] - 0.5) > 1e-5
    assert clear.mean() > 0.99
    np.testing.assert_array_equal((found[0] > 0.5)[clear], (expected[0] > 0.5)[clear])
    np.testing.assert_allclose(np.linalg.norm(found[1], axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("batch", [1, 2, 3, MAX_BATCH])
def test_encoding_does_not_depend_on_batch_size_or_cores(
    openvino: OpenVinoRuntime, images: NDArray[np.uint8], batch: int
) -> None:
    together = openvino(images)
    for run in (openvino, openvino.on_one_core):
        parts = [run(images[first : first + batch]) for first in range(0, len(images), batch)]
        for column in (0, 1):
            np.testing.assert_array_equal(np.concatenate([part[column] for part in parts]), together[column])


class BlockingRuntime:
    """Fake network that blocks until `go` is set; the F7 of an image is its first pixel."""

    def __init__(self, lanes: int = 1) -> None:
        self.parallel_batches = lanes
        self.batches: list[list[int]] = []
        self.one_core_batches: list[list[int]] = []
        self.reached, self.go = threading.Event(), threading.Event()

    def __call__(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        tones = images[:, 0, 0, 0]
        self.batches.append(tones.tolist())
        self.reached.set()
        assert self.go.wait(TIMEOUT_S)
        if 13 in tones:
            raise ArithmeticError("a bad batch")
        return np.unpackbits(tones[:, None], axis=1).astype(np.float32), tones[:, None].astype(np.float32)

    def on_one_core(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.one_core_batches.append(images[:, 0, 0, 0].tolist())
        return self(images)


@contextmanager
def encoding(runtime: BlockingRuntime) -> Iterator[tuple[BatchingEncoder, ThreadPoolExecutor]]:
    encoder = BatchingEncoder(runtime)
    with ThreadPoolExecutor(64) as callers:
        try:
            yield encoder, callers
        finally:
            runtime.go.set()
            encoder.close()


def image(tone: int) -> Image.Image:
    return Image.new("RGB", (SIDE, SIDE), (tone, 0, 0))


def tones(encoder: BatchingEncoder, wanted: Sequence[int]) -> list[int]:
    """Encode images with these tones as additions; return the tones in F7."""
    encoded = encoder.encode_many([image(tone) for tone in wanted])
    assert encoded.codes[:, 0].tolist() == encoded.features[:, 0].tolist()
    return [int(tone) for tone in encoded.features[:, 0]]


def tone(encoder: BatchingEncoder, wanted: int) -> int:
    """Encode an image with this tone as a search; return the tone in F7."""
    encoded = encoder.encode_one(image(wanted)).result()
    assert encoded.codes.shape == encoded.features.shape == (1, 1)
    assert encoded.codes[0, 0] == encoded.features[0, 0]
    return int(encoded.features[0, 0])


def submit(callers: ThreadPoolExecutor, *calls: Callable[[], object]) -> list[Future[object]]:
    """Start calls that block, and wait until they are queued."""
    futures = [callers.submit(call) for call in calls]
    time.sleep(0.15)
    return futures


def test_single_image_is_encoded_alone_on_all_cores() -> None:
    runtime = BlockingRuntime()
    runtime.go.set()
    with encoding(runtime) as (encoder, _):
        assert tone(encoder, 42) == 42
    assert runtime.batches == [[42]]
    assert runtime.one_core_batches == []


def test_single_image_leaves_the_other_cores_to_searches_under_way() -> None:
    runtime = BlockingRuntime()
    runtime.go.set()
    with encoding(runtime) as (encoder, _):
        assert encoder.encode_one(image(42), alone=False).result(TIMEOUT_S).features.tolist() == [[42]]
    assert runtime.one_core_batches == [[42]]


def test_concurrent_images_are_spread_over_cores() -> None:
    runtime = BlockingRuntime(lanes=2)
    with encoding(runtime) as (encoder, callers):
        first = submit(callers, lambda: tone(encoder, 1))
        second = submit(callers, lambda: tone(encoder, 2))
        assert runtime.batches == [[1], [2]]
        assert runtime.one_core_batches == [[2]]
        later = submit(callers, *[lambda at=at: tone(encoder, at) for at in (3, 4, 5, 6)])
        runtime.go.set()
        assert [future.result(TIMEOUT_S) for future in first + second + later] == [1, 2, 3, 4, 5, 6]
    assert max(map(len, runtime.one_core_batches)) == 2
    assert sorted(chain(*runtime.batches)) == [1, 2, 3, 4, 5, 6]


def test_queued_searches_share_batches_and_get_their_own_results() -> None:
    runtime = BlockingRuntime()
    with encoding(runtime) as (encoder, callers):
        wanted = list(range(100, 141))
        calls = [lambda wanted=wanted: tone(encoder, wanted) for wanted in wanted]
        futures = submit(callers, *calls)
        runtime.go.set()
        assert [future.result(TIMEOUT_S) for future in futures] == wanted
    assert len(runtime.batches) <= 15
    assert max(map(len, runtime.batches)) == MAX_BATCH


def test_additions_keep_their_order_across_batches() -> None:
    runtime = BlockingRuntime()
    runtime.go.set()
    with encoding(runtime) as (encoder, _):
        assert tones(encoder, range(200, 221)) == list(range(200, 221))
    assert [tone for batch in runtime.batches for tone in batch] == list(range(200, 221))
    assert max(map(len, runtime.batches)) == MAX_BATCH


def test_search_has_priority_over_queued_additions() -> None:
    runtime = BlockingRuntime()
    with encoding(runtime) as (encoder, callers):
        futures = submit(callers, lambda: tone(encoder, 1))
        futures += submit(callers, lambda: tones(encoder, range(100, 124)))
        futures += submit(callers, lambda: tone(encoder, 2))
        runtime.go.set()
        for future in futures:
            future.result(TIMEOUT_S)
    assert runtime.batches[0] == [1]
    assert 2 in runtime.batches[1]
    assert sum(len(batch) for batch in runtime.batches) == 26


def test_error_is_raised_for_all_images_of_its_batch_only() -> None:
    runtime = BlockingRuntime()
    with encoding(runtime) as (encoder, callers):
        first = submit(callers, lambda: tone(encoder, 1))
        bad = submit(callers, *[lambda: tone(encoder, 13)] * 3)
        runtime.go.set()
        assert first[0].result(TIMEOUT_S) == 1
        for future in bad:
            with pytest.raises(ArithmeticError, match="a bad batch"):
                future.result(TIMEOUT_S)
        assert tone(encoder, 5) == 5


def test_close_encodes_queued_images() -> None:
    runtime = BlockingRuntime()
    with encoding(runtime) as (encoder, callers):
        futures = submit(callers, lambda: tone(encoder, 1), lambda: tone(encoder, 2))
        futures += submit(callers, lambda: tones(encoder, range(20)[3:12]))
        closed = submit(callers, encoder.close)[0]
        assert not closed.done()
        runtime.go.set()
        assert {futures[0].result(TIMEOUT_S), futures[1].result(TIMEOUT_S)} == {1, 2}
        assert futures[2].result(TIMEOUT_S) == list(range(3, 12))
        closed.result(TIMEOUT_S)


def test_calls_after_close_raise() -> None:
    runtime = BlockingRuntime()
    runtime.go.set()
    encoder = BatchingEncoder(runtime)
    encoder.close()
    encoder.close()
    with pytest.raises(UnavailableError):
        encoder.encode_one(image(1))
    with pytest.raises(UnavailableError):
        encoder.encode_many([image(1)])
    assert runtime.batches == []


def test_opening_runs_every_batch_size_on_every_lane_largest_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runtime = BlockingRuntime(lanes=3)
    runtime.go.set()
    monkeypatch.setattr("app.search.encode.batching.open_runtime", lambda *_: runtime)
    encoder, _ = open_encoder("general", "cpu", "f32", tmp_path)
    encoder.close()
    sizes = [len(batch) for batch in runtime.one_core_batches]
    assert sizes == [size for batch in range(MAX_BATCH, 0, -1) for size in repeat(batch, 3)]
