"""Drawn lateral films under what lies beside the spine on real ones: ribs, vessels, grain, the mass of a shoulder.

On drawn films plates stand out behind the shoulders, too; on real ones they are no stronger than the ribs and vessels
that cross them. So the lungs of real AP films, high-pass filtered, are laid over drawn laterals, whose own contrast is
taken back, and over both bright flat masses with an edge. Outlines and truth stay as they are.  Run as
``python -m spinepacs.training.films.overlaid --films DIR --ap DIR --out DIR``.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spinepacs.domain.anatomy import Level
from spinepacs.training.data.dataset import Film, read_grey
from spinepacs.training.data.held_out import real_films
from spinepacs.training.films.mesh import Floats, Image

_SIDE_BODY_PX = 64.0
"""Height of a body of the film that a side was cut from, in px of the side."""
_BESIDE, _WIDE = 0.62, 6.0
"""A side begins so many widths of a body beside the spine, and is at most so many heights of one wide."""
_LEAST_WIDE = 3.0
_MOST_WHITE = 0.03
"""Share of white in a side from which it shows a marker or a rod rather than a lung."""
_SMOOTH = 1.6
"""Heights of a body over which greys are smoothed: what is finer is texture."""
_OVER = range(Level.C6, Level.T12)
"""Along these levels films are laid over."""
_LEAST_BODIES, _LEAST_BODY_PX = 5, 8.0
_DARK, _FLESH = 14.0, 30.0
"""Greys up to which there is air, and above which as much of the overlay as elsewhere."""


def sides(film: Film) -> list[Image]:
    """What lies left and right of the spine of a labelled AP film, from T1 down, straightened: (H, W) float32, with
    bodies 64 px high; none where the film is too narrow or shows white things there."""
    bodies = [body.outline_px for body in film.bodies if Level.T1 <= body.class_id <= Level.L1]
    if len(bodies) < _LEAST_BODIES:
        return []
    image = read_grey(film.path).astype(np.float32)
    centres = np.array(sorted((outline.mean(axis=0) for outline in bodies), key=lambda centre: centre[1]))
    wide = float(np.median([np.ptp(outline[:, 0]) for outline in bodies]))
    high = _height(centres)
    step = high / _SIDE_BODY_PX
    down = np.arange(centres[0, 1] - high, centres[-1, 1], step)
    middle = np.interp(down, centres[:, 1], centres[:, 0])
    found = []
    for sign in (-1, 1):
        aside = sign * np.arange(_BESIDE * wide, _BESIDE * wide + _WIDE * high, step)
        columns = (middle[:, None] + aside).astype(np.float32)
        inside = int(np.all((columns >= 0) & (columns < image.shape[1]), axis=0).sum())
        rows = np.broadcast_to(down[:, None], columns.shape).astype(np.float32)
        side = cv2.remap(image, columns[:, :inside], rows[:, :inside], cv2.INTER_LINEAR)
        if inside >= _LEAST_WIDE * _SIDE_BODY_PX and (side > 250).mean() < _MOST_WHITE:
            found.append(np.asarray(side, np.float32))
    return found


def overlaid(
    film: NDArray[np.uint8], centres: Floats, real: Sequence[Image], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """A lateral film under one or two sides of real ones, and up to two bright masses.

    Parameters
    ----------
    film
        (rows, columns) uint8, bright bone on dark ground.
    centres
        (N, 2) of the bodies behind lung and shoulder, from head to foot, px of the film.
    real
        As :func:`sides` gives them.
    """
    body_px = _height(centres)
    fine, smooth = _parted(film.astype(np.float32), _SMOOTH * body_px)
    texture = np.zeros_like(fine)
    for _ in range(int(rng.integers(1, 3))):
        texture += _laid(real[int(rng.integers(len(real)))], film.shape, centres, body_px, rng)
    near = np.zeros(film.shape, np.uint8)
    cv2.polylines(near, [centres.astype(np.int32)], False, 1, max(2, round(2 * body_px)))
    alike = fine[near > 0].std() / max(float(texture[near > 0].std()), 1e-6)
    flesh = np.clip((smooth - _DARK) / _FLESH, 0, 1)
    share = _along(centres, body_px, len(film), rng)[:, None] * flesh
    kept, much = rng.uniform(0.4, 1.0), rng.uniform(0.15, 0.85) * alike
    greys = smooth + fine * (1 - share * (1 - kept)) + texture * (much * share)
    for _ in range(int(rng.integers(0, 3))):
        mass = _mass(film.shape, centres, body_px, rng) * flesh
        fine, smooth = _parted(greys, 3 * body_px)
        under = smooth + fine * rng.uniform(0.3, 0.9) + rng.uniform(10, 90) * (1 - smooth / 255)
        greys = greys * (1 - mass) + under * mass
    return np.asarray(np.clip(greys + 0.5, 0, 255), np.uint8)


def _height(centres: Floats) -> float:
    """Of a body, from the way to the next one: a disc takes a fifth of it."""
    return 0.8 * float(np.median(np.hypot(*np.diff(centres, axis=0).T)))


def _parted(greys: Image, over_px: float) -> tuple[Image, Image]:
    """What is finer than a length, and the rest."""
    small = cv2.resize(greys, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    smooth = cv2.resize(cv2.GaussianBlur(small, (0, 0), over_px / 4), greys.shape[::-1])
    return np.asarray(greys - smooth, np.float32), np.asarray(smooth, np.float32)


def _laid(
    side: Image, shape: tuple[int, ...], centres: Floats, body_px: float, rng: np.random.Generator
) -> Image:
    """The texture of a side about one of the bodies, turned, scaled, now and then mirrored, and on beyond its ends."""
    fine, _ = _parted(side, _SMOOTH * _SIDE_BODY_PX)
    if rng.random() < 0.5:
        fine = np.ascontiguousarray(fine[:, ::-1])
    middle = np.array(fine.shape[::-1]) / 2
    scale = body_px / _SIDE_BODY_PX * rng.uniform(0.75, 1.35)
    matrix = cv2.getRotationMatrix2D(middle.tolist(), rng.normal(0, 30), scale)
    matrix[:, 2] += centres[int(rng.integers(len(centres)))] + rng.normal(0, body_px, 2) - middle
    size = (shape[1], shape[0])
    return np.asarray(cv2.warpAffine(fine, matrix, size, borderMode=cv2.BORDER_REFLECT_101), np.float32)


def _along(centres: Floats, body_px: float, rows: int, rng: np.random.Generator) -> Image:
    """(rows,) share of the overlay: from the neck to somewhere by the diaphragm."""
    down = np.arange(rows)
    top = centres[0, 1] - body_px * rng.uniform(0, 2.5)
    end = centres[-1, 1] + body_px * rng.uniform(-3, 2.5)
    return (_rises((down - top) / (0.5 * body_px)) * _rises((end - down) / (0.8 * body_px))).astype(
        np.float32
    )


def _mass(shape: tuple[int, ...], centres: Floats, body_px: float, rng: np.random.Generator) -> Image:
    """(rows, columns) from 0 to 1: a shoulder's or an arm's mass, whose slightly bent edge crosses the spine."""
    place = centres[int(rng.integers(len(centres)))] + rng.normal(0, body_px, 2)
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[: shape[0] : 4, : shape[1] : 4].astype(np.float32)
    across = (x - place[0]) * np.cos(angle) + (y - place[1]) * np.sin(angle)
    along = (y - place[1]) * np.cos(angle) - (x - place[0]) * np.sin(angle)
    across += rng.normal(0, 0.08) / body_px * along**2
    edge_px = body_px * np.exp(rng.uniform(np.log(0.08), np.log(0.8)))
    thick_px = body_px * rng.uniform(3, 9)
    mass = _rises(across / edge_px) * _rises((thick_px - across) / (3 * edge_px))
    return np.asarray(cv2.resize(mass.astype(np.float32), shape[1::-1]), np.float32)


def _rises(x: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -30, 30))))


def hidden_centres(truth: dict[str, Any]) -> Floats | None:
    """(N, 2) centres of the bodies of a drawn lateral film that lung and shoulder may hide; None of other films, and of
    one that shows too few of them."""
    seen = [
        np.mean(row["outline_px"], axis=0)
        for row in truth["vertebrae"]
        if row["seen"] and row["level"] in Level.__members__ and Level[row["level"]] in _OVER
    ]
    if truth["view"] != "lateral" or len(seen) < _LEAST_BODIES:
        return None
    centres = np.array(seen)
    return centres if _height(centres) >= _LEAST_BODY_PX else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Lay over each lateral film of a folder that shows the chest; films that are there stay."""
    parser = argparse.ArgumentParser(description="Drawn lateral films under the lungs of real AP ones.")
    parser.add_argument("--films", type=Path, required=True, help="YOLO-seg folder of the film generator")
    parser.add_argument(
        "--ap", type=Path, required=True, help="AP folder with corner tables: its training groups"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for images, labels and truth")
    parser.add_argument("--seed", type=int, default=0, help="of every random choice")
    given = parser.parse_args(arguments)
    real = [side for film in real_films(given.ap)[0] for side in sides(film)]
    for part in ("images", "labels", "truth"):
        (given.out / part).mkdir(parents=True, exist_ok=True)
    shutil.copy(given.films / "data.json", given.out)
    for index, path in enumerate(sorted((given.films / "truth").glob("*.json"))):
        centres = hidden_centres(json.loads(path.read_text(encoding="utf-8")))
        if centres is None or (given.out / "truth" / path.name).is_file():
            continue
        film = overlaid(
            read_grey(given.films / "images" / f"{path.stem}.png"),
            centres,
            real,
            np.random.default_rng([given.seed, index]),
        )
        cv2.imwrite(str(given.out / "images" / f"{path.stem}.png"), film)
        shutil.copy(given.films / "labels" / f"{path.stem}.txt", given.out / "labels")
        shutil.copy(path, given.out / "truth")  # last: it says that the film is there
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
