"""A network without norms and dropout, whose batch gradient equals the mean over shares, and a training program for it.

torchrun … -m tests.models.plain FOLDER OUT STEP    trains; exits at that step of the second epoch unless 0
"""

import json
import os
import sys
from pathlib import Path

import torch
from torch import nn

from models.network.backbones import BACKBONES, Backbone
from models.network.preprocess import Preprocess
from models.training import devices
from models.training import train as training
from models.training.config import TrainingConfig
from models.training.progress import TrainingProgress
from models.training.train import train

PREPROCESS = Preprocess(32, "stretch", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0))
RECIPE = TrainingConfig(backbone="plain", bits=8, size=32, epochs=3, batch=12, rate=0.05, average=0.5)
SAVE_INTERVAL = 3


def build() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 5, 4), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten())


PLAIN = Backbone("plain", 32, 8, PREPROCESS, 0.1, build, lambda: build().state_dict())


def never(device: torch.device) -> bool:
    """Replacement for `has_native_bf16`: in bf16, a batch and its shares are rounded differently."""
    return False


def main(folder: Path, out: Path, stop: int) -> None:
    BACKBONES["plain"], training.SAVE_INTERVAL, devices.has_native_bf16 = PLAIN, SAVE_INTERVAL, never

    def report(progress: TrainingProgress) -> None:
        if stop and (progress.epoch, progress.step) == (2, stop):
            raise SystemExit(9)

    info = train(folder, out, RECIPE, report)
    history = json.dumps(info.training["history"])
    out.with_name(f"{out.name}.history.{os.environ['RANK']}").write_text(history)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
