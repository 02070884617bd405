"""From the attenuation along each ray and the bodies' marks to a film: exposed, displayed, decorated, mirrored."""

from __future__ import annotations

from collections.abc import Container, Sequence

import numpy as np

from spinepacs.training.films.anatomy import LEVELS
from spinepacs.training.films.clutter import clutter
from spinepacs.training.films.look import Look, collimate, display, expose, finish, grid_and_seam, stamp
from spinepacs.training.films.mesh import Image
from spinepacs.training.films.rough import roughen
from spinepacs.training.films.truth import Film, Truth, clip_outline, mark_seen, mirror
from spinepacs.training.films.variety import Wash, washed
from spinepacs.training.films.xray import Camera


def developed(
    shadow: Image,
    truths: Sequence[Truth],
    camera: Camera,
    look: Look,
    rng: np.random.Generator,
    *,
    view: str,
    region: str,
    rough: float,
    asked: Container[str] = LEVELS,
    wash: Wash | None = None,
    decorate: bool = True,
) -> Film:
    """Return the film of what the detector saw, with the marks of the bodies that it shows.

    rough: chance of other people's processing. asked: levels that the window is set for. wash: how bright and flat the
    film is below, None: not at all. decorate: with clothing, grid, collimation, letters, that processing and, of
    lateral films, half mirrored.
    """
    if decorate:
        shadow = shadow + clutter(camera.shape_px, camera.spacing_mm, rng)
    density = expose(shadow, look, camera.spacing_mm, rng)
    shown = [t for t in truths if clip_outline(t.outline_px, camera.shape_px) is not None]
    path_px = np.array([t.corners_px.mean(axis=0) for t in shown if t.level in asked])
    value = display(density, look, camera.spacing_mm, path_px)
    value = washed(value, wash or Wash(), camera.spacing_mm, path_px)
    facing = "right" if camera.lateral else "front"
    if decorate:
        value = roughen(value, rough, rng)
        value = collimate(grid_and_seam(value, look, camera.spacing_mm, rng), rng)
        if camera.lateral and rng.random() < 0.5:
            value, facing = np.ascontiguousarray(value[:, ::-1]), "left"
            shown = [mirror(t, camera.shape_px[1]) for t in shown]
    seen = tuple(mark_seen(shown, value))
    pixels = finish(value, rng, packed=decorate)
    if decorate:
        stamp(pixels, rng, camera.lateral)
    return Film(pixels, value, view, region, facing, camera, seen, {})
