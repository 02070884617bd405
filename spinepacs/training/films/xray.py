"""The X-ray geometry: a point source, a flat detector, and the sum of attenuation along every ray."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from spinepacs.training.films.body import Solid, Vessel
from spinepacs.training.films.mesh import Floats, Image, add_depth

COARSE = 3


@dataclass(frozen=True)
class Camera:
    """Where source and detector stand, in the room's mm; lateral: rays run to the patient's left, else to the back.

    source_mm: source to detector. object_mm: spine (the room's origin) to detector. aim_mm: (2,) where the central
    ray meets the spine's plane, (across, up). left_mm, top_mm: the film's corner on the detector, from that ray.
    """

    lateral: bool
    source_mm: float
    object_mm: float
    aim_mm: Floats
    left_mm: float
    top_mm: float
    spacing_mm: float
    shape_px: tuple[int, int]

    @property
    def magnification(self) -> float:
        """Size on the detector over size in the plane of the spine."""
        return self.source_mm / (self.source_mm - self.object_mm)

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Return pixel coordinates (N, 2) and depths (N,) mm of points (N, 3) mm of the room."""
        depth = points[:, 0] if self.lateral else points[:, 1]
        across = -points[:, 1] if self.lateral else points[:, 0]
        grow = self.source_mm / (self.source_mm - self.object_mm + depth)
        u = ((across - self.aim_mm[0]) * grow - self.left_mm) / self.spacing_mm
        v = (self.top_mm - (points[:, 2] - self.aim_mm[1]) * grow) / self.spacing_mm
        return np.ascontiguousarray(np.stack([u, v], axis=1)), np.ascontiguousarray(depth)


def vessel_shadow(vessels: list[Vessel], camera: Camera) -> Image:
    """Return what thin vessels add, (H, W) float32; the stronger one counts where two cross."""
    layer = np.zeros(camera.shape_px, np.float32)
    for vessel in sorted(vessels, key=lambda v: v.radius_mm):
        line, _ = camera.project(vessel.line)
        thick = max(1, round(2 * vessel.radius_mm * camera.magnification / camera.spacing_mm))
        shade = 2.6 * vessel.radius_mm * vessel.weight
        cv2.polylines(layer, [np.round(line).astype(np.int32)], False, float(shade), thick, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(layer, (0, 0), 0.6 / camera.spacing_mm), dtype=np.float32)


def attenuation(solids: list[Solid], vessels: list[Vessel], camera: Camera) -> Image:
    """Return the attenuation along the ray of every pixel, (H, W) float32, zero in air.

    Soft tissue is drawn at a third of the resolution: it has no fine edges, and most of the triangles' area.
    """
    height, width = camera.shape_px
    fine = np.zeros((height, width), np.float32)
    coarse = np.zeros((-(-height // COARSE), -(-width // COARSE)), np.float32)
    lungs = np.zeros_like(fine)
    for solid in solids:
        uv, depth = camera.project(solid.vertices)
        if solid.airy:
            add_depth(lungs, uv, depth, solid.faces, solid.weight)
        elif solid.fine:
            add_depth(fine, uv, depth, solid.faces, solid.weight)
        else:
            add_depth(coarse, uv / COARSE, depth, solid.faces, solid.weight)
    coarse = cv2.GaussianBlur(coarse, (0, 0), 1.0)
    full = cv2.resize(
        coarse, (coarse.shape[1] * COARSE, coarse.shape[0] * COARSE), interpolation=cv2.INTER_LINEAR
    )
    # Vessels are seen only where there is lung around them.
    fine += lungs + vessel_shadow(vessels, camera) * np.clip(-lungs / 0.6, 0, 1)
    return np.maximum(fine + full[:height, :width], 0.0)
