"""How each measure is coded in a report: what it is (concept), where along the endplate, and by whose method."""

from __future__ import annotations

from typing import NamedTuple

from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code

from spinepacs.dicom.codes import (
    ANTERIOR,
    CENTRAL,
    DEGREES,
    DISC_HEIGHT,
    HEIGHT,
    HEIGHT_INDEX,
    IMAGE_LEFT,
    IMAGE_RIGHT,
    MM,
    PIXELS,
    POSTERIOR,
    RATIO,
    WEDGE,
    private,
)
from spinepacs.domain.measures import Quantity, Unit

UNCERTAINTY = standard.SCT.RangeOfMeasurementUncertainty
"""Of TID 310, CID 225: "+/-"; ours is the half-width of the 95 % interval, in the unit of the measure."""

UNITS: dict[Unit, Code] = {Unit.PX: PIXELS, Unit.MM: MM, Unit.RATIO: RATIO, Unit.DEGREE: DEGREES}
DECIMALS: dict[Unit, int] = {Unit.PX: 2, Unit.MM: 2, Unit.RATIO: 3, Unit.DEGREE: 1}

FROBIN = private("FROBIN_1997", "Frobin et al. 1997")
DABBS = private("DABBS_1990", "Dabbs and Dabbs 1990")
HURXTHAL = private("HURXTHAL_1968", "Hurxthal 1968")
TAILLARD = private("TAILLARD_1954", "Taillard 1954: share of the lower endplate")
GENANT = private("GENANT_1993", "Genant et al. 1993")
COBB = private("COBB_1948", "Cobb 1948")

APEX = private("APEX", "Apex of the curve")
CONVEXITY = private("CONVEXITY", "Convex side of the curve")


class Coded(NamedTuple):
    """Concept, topographical modifier and measurement method of a quantity; None where it needs none."""

    concept: Code
    where: Code | None = None
    method: Code | None = None


_SLIP = private("DISPLACEMENT", "Sagittal displacement, anterior positive")
_SLIP_SHARE = private("SLIP_SHARE", "Displacement over depth, anterior positive")
_LISTHESIS = private("LAT_LISTHESIS", "Lateral displacement, image left positive")
_LISTHESIS_SHARE = private("LAT_LIST_SHARE", "Lateral displacement over width, image left positive")
_COBB = standard.SCT.CobbAngle

MEASURES: dict[Quantity, Coded] = {
    Quantity.DISC_HEIGHT_ANTERIOR: Coded(HEIGHT, ANTERIOR),
    Quantity.DISC_HEIGHT_MIDDLE: Coded(HEIGHT, CENTRAL),
    Quantity.DISC_HEIGHT_POSTERIOR: Coded(HEIGHT, POSTERIOR),
    Quantity.DISC_HEIGHT_FROBIN: Coded(HEIGHT_INDEX, ANTERIOR, FROBIN),
    Quantity.DISC_HEIGHT_DABBS: Coded(DISC_HEIGHT, None, DABBS),
    Quantity.DISC_HEIGHT_HURXTHAL: Coded(DISC_HEIGHT, CENTRAL, HURXTHAL),
    Quantity.DISC_HEIGHT_INDEX: Coded(HEIGHT_INDEX),
    Quantity.DISC_ANGLE: Coded(WEDGE),
    Quantity.SEGMENT_ANGLE: Coded(private("SEGMENT_ANGLE", "Segmental angle, lordosis positive")),
    Quantity.SLIP: Coded(_SLIP),
    Quantity.SLIP_SHARE: Coded(_SLIP_SHARE, None, TAILLARD),
    Quantity.VERTEBRA_HEIGHT_ANTERIOR: Coded(HEIGHT, ANTERIOR),
    Quantity.VERTEBRA_HEIGHT_MIDDLE: Coded(HEIGHT, CENTRAL),
    Quantity.VERTEBRA_HEIGHT_POSTERIOR: Coded(HEIGHT, POSTERIOR),
    Quantity.VERTEBRA_DEPTH: Coded(standard.SCT.Depth),
    Quantity.WEDGE_RATIO: Coded(private("WEDGE_RATIO", "Anterior over posterior height")),
    Quantity.BICONCAVITY_RATIO: Coded(private("BICONCAVITY", "Middle over posterior height")),
    Quantity.CRUSH_RATIO: Coded(private("CRUSH_RATIO", "Posterior height over that of the neighbours")),
    Quantity.VERTEBRA_HEIGHT_LOSS: Coded(private("HEIGHT_LOSS", "Loss of vertebral height"), None, GENANT),
    Quantity.CERVICAL_LORDOSIS: Coded(private("LORDOSIS_C", "Cervical lordosis C2-C7")),
    Quantity.THORACIC_KYPHOSIS: Coded(private("KYPHOSIS_T", "Thoracic kyphosis T4-T12")),
    Quantity.LUMBAR_LORDOSIS: Coded(private("LORDOSIS_L", "Lumbar lordosis")),
    Quantity.AP_DISC_HEIGHT_LEFT: Coded(HEIGHT, IMAGE_LEFT),
    Quantity.AP_DISC_HEIGHT_MIDDLE: Coded(HEIGHT, CENTRAL),
    Quantity.AP_DISC_HEIGHT_RIGHT: Coded(HEIGHT, IMAGE_RIGHT),
    Quantity.AP_DISC_HEIGHT_INDEX: Coded(HEIGHT_INDEX),
    Quantity.AP_DISC_WEDGE: Coded(WEDGE),
    Quantity.AP_VERTEBRA_WEDGE: Coded(WEDGE),
    Quantity.LATERAL_LISTHESIS: Coded(_LISTHESIS),
    Quantity.LATERAL_LISTHESIS_SHARE: Coded(_LISTHESIS_SHARE),
    Quantity.COBB_MAIN: Coded(_COBB, None, COBB),
    Quantity.COBB_OTHER: Coded(_COBB, None, COBB),
}
"""Every quantity; the tests hold that none is missing and no two of one group look the same."""
