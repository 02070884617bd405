"""Why films are not read, in words."""

from __future__ import annotations

from spinepacs.domain.words import Words
from spinepacs.language import N_, spoken

REFUSALS: Words[str] = Words(
    {
        "NO_VERTEBRA_FOUND": N_("no vertebra was found on this film"),
        "TOO_FEW_VERTEBRAE": N_("fewer than two sure vertebrae in a row were found on this film"),
        "TWO_EXPOSURES": N_(
            "this image holds two exposures of the spine: send each of them as an image of its own"
        ),
        "ORIENTATION_UNCLEAR": N_("which end of this film is the head cannot be told"),
        "NON_SQUARE_PIXELS": N_("the pixels are not square, and their shape is not certain"),
        "EMPTY_IMAGE": N_("the image holds a single grey level: nothing was exposed"),
        "BURNT_OUT": N_("nearly all pixels are fully black or white: exposed or exported wrongly"),
        "MULTI_FRAME": N_("NumberOfFrames is more than 1: only single radiographs are read"),
        "COLOUR": N_("PhotometricInterpretation is not greyscale: send the original radiograph"),
        "TOO_SMALL": N_("the image is too small to be measured"),
        "NOT_SELECTED": N_("the selection rules leave it out"),
        "NO_RADIOGRAPH": N_("it is no radiograph"),
        "UNKNOWN_SOP_CLASS": N_("SOPClassUID is no image of the Standard: export the film as CR or DX"),
        "NO_PIXEL_DATA": N_("PixelData is missing: not an image, or cut off before its pixels"),
        "UNDECODABLE_PIXELS": N_("its pixels cannot be decoded"),
        "WRONG_TRANSFER_SYNTAX": N_("its pixels are not stored as its transfer syntax says"),
        "UNSUPPORTED_TRANSFER_SYNTAX": N_("there is no decoder for its transfer syntax"),
        "TRUNCATED": N_("the file ends inside an element: send the image again"),
        "DAMAGED_DATASET": N_("the dataset is damaged: send the image again"),
        "NOT_DICOM": N_("it is no DICOM file"),
        "TIME_LIMIT": N_("it took too long"),
        "MEMORY_LIMIT": N_("it asked for too much memory"),
        "FILM_GONE": N_("the film's file is no longer in the spool: send it again"),
        "FILE_MISSING": N_("its file is no longer in the spool: send the image again"),
        "NO_PICTURE": N_("the picture of this reading is not in the spool"),
        "NO_READING": N_("no film of this SOP Instance UID has been read"),
        "NO_CHANGE": N_("nothing is to be changed"),
        "NOTHING_TO_CORRECT": N_("nothing was found on this film that could be corrected"),
        "REJECTED": N_("by a person"),
    }
)
"""Why films are not read, by code; the sentence of a refusal itself is in English, and may say more."""


def refusal_words(code: str, reason: str) -> str:
    """Why a film was not read; in other languages than English by its code, what is special about it in English."""
    known = REFUSALS.english.get(code)
    if spoken() == "en" or known is None:
        return reason
    return REFUSALS[code] if reason == known else f"{REFUSALS[code]} ({reason})"
