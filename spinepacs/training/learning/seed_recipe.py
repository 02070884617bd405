"""The seed study's recipe: YOLO11n-seg through Ultralytics' own trainer on the merged data set.

640 px, batches of 16, 250 epochs, flips, quarter turns, rotations; everything else, mosaic included, as Ultralytics
sets it.  Ultralytics knows no unlabelled classes: what a source does not label trains as background here.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ultralytics import YOLO
from ultralytics.models.yolo.segment import SegmentationTrainer
from ultralytics.utils.events import events

from spinepacs.training.data.batches import Pool
from spinepacs.training.data.dataset import CLASS_NAMES, Film, LabelsError, read_yolo_seg
from spinepacs.training.data.merge import DataSet
from spinepacs.training.learning.config import TrainConfig
from spinepacs.training.learning.network import write_checkpoint
from spinepacs.training.learning.train import first_network

SETTINGS = {"imgsz": 640, "batch": 16, "fliplr": 0.5, "flipud": 0.5, "degrees": 15.0}
"""What differs from Ultralytics' defaults; ``patience`` is out of reach, so that the run has its full length."""


class QuarterTurn:
    """Swap rows and columns of a square training image and its labels, half the time.

    Together with both flips this makes all eight turns and flips equally likely.
    """

    def __call__(self, labels: dict[str, Any]) -> dict[str, Any]:
        """Turn ``img`` (height, width, 3) and ``instances`` (Ultralytics' boxes and segments, same frame)."""
        if random.random() < 0.5:  # noqa: S311  (an augmentation; Ultralytics seeds it)
            labels["img"] = np.ascontiguousarray(labels["img"].transpose(1, 0, 2))
            objects = labels["instances"]
            objects.convert_bbox("xywh")
            objects.bboxes[:] = objects.bboxes[:, [1, 0, 3, 2]]
            objects.segments = np.ascontiguousarray(objects.segments[..., ::-1])
        return labels


class SeedTrainer(SegmentationTrainer):
    """Ultralytics' trainer with quarter turns, which it does not know."""

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        """As Ultralytics does, with the quarter turn before the labels are formatted."""
        dataset = super().build_dataset(img_path, mode, batch)
        if mode == "train":
            dataset.transforms.insert(-1, QuarterTurn())
        return dataset

    def _close_dataloader_mosaic(self) -> None:
        super()._close_dataloader_mosaic()  # builds the transforms anew
        self.train_loader.dataset.transforms.insert(-1, QuarterTurn())


def train_seed(config: TrainConfig, data: DataSet) -> Path:
    """Train, or go on training, for ``config.epochs`` epochs.

    Returns
    -------
    Path
        ``weights/best.pt`` in ``config.out``: the epoch that was best on the validation films.

    Raises
    ------
    LabelsError
        There is no film to train on, or none to validate with.
    """
    events.enabled = False  # Ultralytics would report file names and figures to its maker
    torch.set_num_threads(config.threads)
    last = config.out / "weights" / "last.pt"
    if not last.is_file():
        _start(config, data)
    elif torch.load(last, map_location="cpu", weights_only=False)["epoch"] >= 0:  # −1: it had its full length
        YOLO(last).train(trainer=SeedTrainer, resume=True, device=config.device)
    return config.out / "weights" / "best.pt"


def _start(config: TrainConfig, data: DataSet) -> None:
    training = [*data.training, *(film for folder in config.synthetic for film in read_yolo_seg(folder))]
    if not training or not data.validation:
        raise LabelsError("recipe seed needs films to train on and to validate with; give --data or --ap")
    merged = write_yolo_seg(
        Path(tempfile.mkdtemp(prefix="merged-", dir=config.out)), training, data.validation
    )
    first = config.out / "start.pt"
    write_checkpoint(first, first_network(config, Pool(training, (), 1.0)))
    YOLO(first).train(
        trainer=SeedTrainer,
        data=str(merged),
        epochs=config.epochs,
        patience=config.epochs,
        project=str(config.out.parent.resolve()),
        name=config.out.name,
        exist_ok=True,
        device=config.device,
        workers=config.workers if config.workers > 1 else 0,
        seed=config.seed,
        deterministic=True,
        plots=False,
        **SETTINGS,
        **({"amp": "bf16"} if config.bf16 else {}),
    )


def write_yolo_seg(folder: Path, training: Iterable[Film], validation: Iterable[Film]) -> Path:
    """Write films as a YOLO-seg data set with links to the images; return its ``data.yaml``."""
    for part, films in (("train", training), ("val", validation)):
        for kind in ("images", "labels"):
            (folder / kind / part).mkdir(parents=True, exist_ok=True)
        for number, film in enumerate(films):
            _write_film(folder, f"{part}/{number:06}-{film.path.stem}", film)
    content = {"path": str(folder.resolve()), "train": "images/train", "val": "images/val"}
    path = folder / "data.yaml"  # JSON is YAML, too
    path.write_text(json.dumps({**content, "names": CLASS_NAMES}, indent=1), encoding="utf-8")
    return path


def _write_film(folder: Path, name: str, film: Film) -> None:
    os.symlink(film.path.resolve(), folder / "images" / f"{name}{film.path.suffix.lower()}")
    size_px = np.array([film.width_px, film.height_px])
    lines = []
    for body in film.bodies:
        shares = ((body.outline_px + 0.5) / size_px).clip(0, 1)
        lines.append(" ".join([str(body.class_id), *(f"{share:.6f}" for share in shares.ravel())]))
    (folder / "labels" / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
