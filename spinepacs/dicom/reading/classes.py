"""What kind of object a file is, by its SOP class alone."""

from __future__ import annotations

from pydicom import config, uid

from spinepacs.domain.findings import Refusal

RADIOGRAPH_CLASSES: tuple[str, ...] = (
    uid.ComputedRadiographyImageStorage,
    uid.DigitalXRayImageStorageForPresentation,
    uid.DigitalXRayImageStorageForProcessing,
    uid.XRayRadiofluoroscopicImageStorage,
    uid.XRayAngiographicImageStorage,
    uid.SecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
)
"""SOP classes of the Standard that may hold a single radiograph."""

UNKNOWN_SOP_CLASS = Refusal(
    "UNKNOWN_SOP_CLASS", "SOPClassUID is no image of the Standard: export the film as CR or DX"
)
"""Results refer to their source by its SOP class, and no reader of them knows a private one."""


def is_private(sop_class_uid: str) -> bool:
    """Whether the class is none of the Standard's: only its vendor knows what it holds."""
    return uid.UID(sop_class_uid, config.IGNORE).is_private
