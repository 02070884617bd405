"""Codes: anatomy, measurements and our own private scheme, each in one place."""

from __future__ import annotations

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from spinepacs.domain.anatomy import ALL_DISCS, DiscLevel, Level, Region
from spinepacs.domain.geometry import SpacingBasis

PRIVATE_SCHEME = "99SPINEPACS"
"""Private coding scheme for what neither SNOMED CT nor DICOM codes; listed in docs/output.md."""


def private(value: str, meaning: str) -> Code:
    """Return a code of our own scheme (value at most 16 characters, VR SH)."""
    return Code(value, PRIVATE_SCHEME, meaning)


_SACRUM = Code("54735007", "SCT", "Sacrum")

VERTEBRAE: dict[Level, Code] = {
    level: _SACRUM if level is Level.S1 else getattr(codes.cid7603, f"{level.name}Vertebra")
    for level in Level
}
"""CID 7603; S1 has no code in it, so the sacrum stands for it and the label says S1."""

DISCS: dict[DiscLevel, Code] = {
    disc: getattr(codes.cid7604, f"{disc.upper.name}{disc.lower.name}Disc") for disc in ALL_DISCS
}
"""CID 7604."""

ANATOMICAL_STRUCTURE = codes.cid7150.AnatomicalStructure
VERTEBRA = Code("51282000", "SCT", "Vertebra")
INTERVERTEBRAL_DISC = Code("360499006", "SCT", "Intervertebral disc")
SPINE = codes.SCT.Spine
ARTIFICIAL_INTELLIGENCE = codes.cid7162.ArtificialIntelligence
PLAIN_RADIOGRAPHY = Code("168537006", "SCT", "Plain radiography")

HEIGHT = Code("121207", "DCM", "Height")
DISC_HEIGHT = private("DISC_HEIGHT", "Disc height")
"""The height at the middle, once more, for viewers that draw one measurement (docs/output.md)."""
HEIGHT_INDEX = private("DHI", "Height index")
WEDGE = private("WEDGE", "Wedge angle")
ANTERIOR = Code("255549009", "SCT", "Anterior")
CENTRAL = Code("26216008", "SCT", "Central")
POSTERIOR = Code("255551008", "SCT", "Posterior")
IMAGE_LEFT = private("IMAGE_LEFT", "Left side of the image")
IMAGE_RIGHT = private("IMAGE_RIGHT", "Right side of the image")
"""Where along the endplates. Left and right are sides of the image, not of the patient."""

MM = Code("mm", "UCUM", "mm")
MM2 = Code("mm2", "UCUM", "mm2")
PIXELS = Code("{pixels}", "UCUM", "pixels")
RATIO = Code("1", "UCUM", "no units")
DEGREES = Code("deg", "UCUM", "deg")

SPACING: dict[SpacingBasis | None, Code] = {
    SpacingBasis.CALIBRATED: private("MM_CALIBRATED", "mm, calibrated with a fiducial"),
    SpacingBasis.MAGNIFICATION_CORRECTED: private("MM_CORRECTED", "mm, corrected for magnification"),
    SpacingBasis.CALIBRATED_UNKNOWN: private("MM_CAL_UNKNOWN", "mm, corrected or calibrated, not said how"),
    SpacingBasis.DETECTOR_PLANE: private("MM_DETECTOR", "mm in the detector plane, magnified"),
    SpacingBasis.UNCALIBRATED: private("MM_UNCALIBRATED", "mm, plane of the spacing not stated"),
    None: private("PX_NO_SPACING", "px, the image states no spacing"),
}
"""Measurement method: on what ground a length is stated."""

_RGB: dict[Region, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    Region.CERVICAL: ((86, 200, 255), (0, 150, 235)),
    Region.THORACIC: ((140, 225, 110), (60, 180, 75)),
    Region.LUMBAR: ((255, 205, 80), (255, 150, 40)),
    Region.SACRAL: ((255, 130, 175), (255, 130, 175)),
}


def colour_of(level: Level) -> tuple[int, int, int]:
    """RGB (0-255) by region; two tones take turns, so that neighbours can be told apart."""
    return _RGB[level.region][level % 2]
