"""How one patient differs from the donor in build: sex, age, counts of ribs and lumbar vertebrae, and the heights
of what a reader counts levels from (rib 12, crest, diaphragm, shoulders, jaw).

A network that had always seen the crest at L4/L5 would name by the crest. So each neighbour moves on its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from spinepacs.training.films.anatomy import Anatomy, Part, Vertebra
from spinepacs.training.films.mesh import Floats, Mesh

HEAD = ("skull", "tooth", "mandible")
SHOULDER = ("clavicle", "scapula")
LAST_RIBS = ("right twelfth rib", "left twelfth rib")


@dataclass(frozen=True)
class Build:
    """One patient's build; lengths in mm of an adult.

    sex: "F" or "M". scale: of the whole patient; head: of the head besides. disc, height, depth, cortex: factors for
    discs, bodies and the bodies' cortex (children: tall discs, thin cortex). hips: of the pelvis' width.
    lumbar: vertebrae between rib-bearing ones and sacrum, 4 to 6. ribs: pairs, 11 to 13. last_rib: length of the
    last pair over the donor's. crest_mm, shoulder_mm, jaw_mm: how much higher than the donor's (S1, C7, C2) they
    stand. deep_seated: L5 sits deep and narrow on the sacrum, as when transitional. lungs: how far the lungs reach
    towards the midline (0: as the donor's). shade: (2,) factors of what shoulder blades and arms absorb.
    slope: degrees by which S1 leans forward beyond what the posture draws. pelvis_turn: degrees by which the hip bones
    turn forward about S1 (so crest and hips stand elsewhere: another pelvic incidence). sacrum_curve: how far the
    sacrum below S1 bends back (positive) or forward, mm for each mm squared. pelvis: factor of the marrow of sacrum
    and hip bones. remnant: (3,) of a disc left between S1 and S2: its thickness mm, its share of the depth, and what
    its plates add per mm; thickness 0: none.
    """

    sex: str = "M"
    scale: float = 1.0
    head: float = 1.0
    disc: float = 1.0
    height: float = 1.0
    depth: float = 1.0
    cortex: float = 1.0
    hips: float = 1.0
    lumbar: int = 5
    ribs: int = 12
    last_rib: float = 1.0
    crest_mm: float = 0.0
    shoulder_mm: float = 0.0
    jaw_mm: float = 0.0
    deep_seated: bool = False
    lungs: float = 0.0
    shade: tuple[float, float] = (1.0, 1.0)
    slope: float = 0.0
    pelvis_turn: float = 0.0
    sacrum_curve: float = 0.0
    pelvis: float = 1.0
    remnant: tuple[float, float, float] = (0.0, 0.0, 0.0)


def draw_build(rng: np.random.Generator, frontal: bool) -> Build:
    """Draw a patient's build; frontal: for AP films, whose patients are mostly adolescents.

    Bodies and discs of AP films have the heights of the AP training films' corners over their widths.
    """
    sex = str(rng.choice(["F", "M"]))
    build = Build(
        sex=sex,
        scale=float(np.clip(rng.normal(0.94 if sex == "F" else 1.0, 0.045), 0.8, 1.12)),
        head=float(rng.normal(1.0, 0.04)),
        disc=float(rng.normal(1.35 if frontal else 1.0, 0.1)),
        height=0.95 if frontal else 1.0,
        hips=float(rng.normal(1.05 if sex == "F" else 0.98, 0.04)),
        lumbar=int(rng.choice([4, 5, 6], p=[0.03, 0.94, 0.03])),
        ribs=int(rng.choice([11, 12, 13], p=[0.03, 0.94, 0.03])),
        last_rib=float(np.clip(rng.normal(0.95, 0.3), 0.25, 1.5)),
        crest_mm=float(rng.normal(-8, 10)),
        shoulder_mm=float(rng.normal(0, 14)),
        jaw_mm=float(rng.normal(0, 6)),
        deep_seated=bool(rng.random() < 0.05),
        lungs=float(rng.uniform(0.05, 0.45) if frontal else rng.uniform(0.0, 0.2)),
        shade=(float(rng.uniform(0.25, 1.2)), float(rng.uniform(0.45, 1.1))),
    )
    child = rng.random() < (0.45 if frontal else 0.15)
    return _younger(build, float(rng.uniform(0, 1)), frontal) if child else build


def _younger(build: Build, age: float, frontal: bool) -> Build:
    """Return the build at an age between about 5 years (0) and 16 (1)."""
    age = max(age, 0.35) if frontal else age
    return replace(
        build,
        scale=build.scale * (0.62 + 0.33 * age),
        head=build.head * (1.36 - 0.3 * age),
        disc=build.disc if frontal else build.disc * (1.4 - 0.3 * age),
        height=build.height * (0.95 + 0.04 * age),
        depth=0.95 + 0.04 * age,
        cortex=0.6 + 0.3 * age,
    )


@lru_cache(maxsize=4)
def with_lumbar(anatomy: Anatomy, count: int) -> Anatomy:
    """Return the donor with 4, 5 or 6 lumbar vertebrae: L5 is left out, or copied below itself as L6.

    What lies below moves up or down with it. Raises ValueError for another count.
    """
    if count not in (4, 5, 6):
        raise ValueError(f"{count} lumbar vertebrae cannot be drawn: 4, 5 or 6 can")
    if count == 5:
        return anatomy
    levels = [v.level for v in anatomy.vertebrae]
    above, last = (anatomy.vertebrae[levels.index(name)] for name in ("L4", "L5"))
    step = (last.origin - above.origin) * (1 if count == 6 else -1)

    def below(points: Floats) -> Floats:
        share = np.clip((above.origin[2] - points[:, 2]) / (above.origin[2] - last.origin[2]), 0, 1)
        return np.asarray(points + share[:, None] * step)

    def moved(vertebra: Vertebra, name: str) -> Vertebra:
        return replace(vertebra, level=name, origin=vertebra.origin + step)

    vertebrae = [v for v in anatomy.vertebrae if v.level not in ("L5", "S1")]
    vertebrae += [last, moved(last, "L6")] if count == 6 else []
    parts = []
    for part in anatomy.parts:
        if part.group != "vertebra":
            parts.append(_part(part, below(part.mesh.vertices)))
        elif part.name == "L5" and count == 6:
            parts += [part, _part(part, part.mesh.vertices + step, "L6")]
        elif part.name == "S1":
            parts.append(_part(part, part.mesh.vertices + step))
        elif part.name != "L5":
            parts.append(part)
    return Anatomy(tuple(parts), (*vertebrae, moved(anatomy.vertebrae[-1], "S1")))


def _part(part: Part, vertices: Floats, name: str = "") -> Part:
    return replace(part, name=name or part.name, mesh=Mesh(vertices, part.mesh.faces))


def with_ribs(anatomy: Anatomy, build: Build) -> tuple[Part, ...]:
    """Return the donor's parts with 11, 12 or 13 pairs of ribs, the last pair as long as the build says."""
    levels = [v.level for v in anatomy.vertebrae]
    step = anatomy.vertebrae[levels.index("L1")].origin - anatomy.vertebrae[levels.index("T12")].origin
    parts = []
    for part in anatomy.parts:
        if part.name not in LAST_RIBS:
            parts.append(part)
        elif build.ribs == 12:
            parts.append(_part(part, stretch_rib(part.mesh.vertices, build.last_rib)))
        elif build.ribs == 13:
            extra = stretch_rib(part.mesh.vertices, 0.6 * build.last_rib) + step
            parts += [part, _part(part, extra, part.name.replace("twelfth", "thirteenth"))]
    return tuple(parts)


def stretch_rib(points: Floats, factor: float) -> Floats:
    """Return rib points (N, 3) mm made longer or shorter along the rib, its head at the spine kept in place."""
    head = points[np.argsort(np.abs(points[:, 0]))[:20]].mean(axis=0)
    way = points.mean(axis=0) - head
    way /= np.linalg.norm(way)
    return np.asarray(points + (factor - 1) * ((points - head) @ way)[:, None] * way)


def settle(points: Floats, part: Part, build: Build, anatomy: Anatomy) -> Floats:
    """Return donor points (N, 3) mm of a part after the build's changes."""
    if part.group in HEAD:
        head_at = anatomy.vertebrae[0].origin
        lower = build.jaw_mm if part.group == "mandible" else 0.0
        return np.asarray(head_at + build.head * (points - head_at) + [0, 0, lower])
    moved = points.copy()
    if part.name.endswith(("hip bone", "femur")):
        moved = turned_hips(points, np.radians(build.pelvis_turn), anatomy.vertebrae[-1].origin)
        moved[:, 0] *= build.hips
        moved[:, 2] += build.crest_mm
    elif part.name.endswith(SHOULDER):
        moved[:, 2] += build.shoulder_mm
    elif part.group == "lung" and build.lungs:
        moved[:, 0] = reach_in(points, build.lungs)
    return moved


def turned_hips(points: Floats, angle: float, about: Floats) -> Floats:
    """Return points (N, 3) mm turned forward by an angle (rad) about S1."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray((points - about) @ np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]]) + about)


def reach_in(points: Floats, share: float) -> Floats:
    """Return x (N,) mm of lung points drawn towards the midline from the lung's own outer wall."""
    side = np.sign(points[:, 0].mean())
    out = side * points[:, 0]
    place = np.clip(((points[:, 2] - points[:, 2].min()) / 10.0).astype(int), 0, 60)
    wall = np.full(61, 0.0)
    np.maximum.at(wall, place, out)
    wall = np.convolve(np.pad(wall, 3, mode="edge"), np.ones(7) / 7, mode="valid")
    drawn = wall[place] - (wall[place] - out) * (1 + share)
    # The spine and the great vessels keep the lungs apart: nothing is drawn to less than 17 mm.
    return np.asarray(side * np.maximum(drawn, np.minimum(out, 17.0 + 0.1 * out)))
