"""What fhir.resources says of a Bundle (the extra ``fhir``): structure, types, cardinalities, references' targets."""

from __future__ import annotations

import importlib
from typing import Any

from spinepacs.errors import BadSettings
from spinepacs.exchange.fhir.bundle import Version
from spinepacs.exchange.fhir.coding import ENTERED_IN_ERROR, Resource

STATUSES = {
    "DiagnosticReport": frozenset({"registered", "partial", "preliminary", "final", "amended", "corrected"})
    | {ENTERED_IN_ERROR},
    "Observation": frozenset(
        {"registered", "preliminary", "final", "amended", "corrected", ENTERED_IN_ERROR}
    ),
}
"""Codes that fhir.resources does not check."""
_PACKAGES = {"R5": "fhir.resources.bundle", "R4B": "fhir.resources.R4B.bundle"}


def validated(found: Resource, version: Version) -> Resource:
    """Give the Bundle back if it is one.

    Raises
    ------
    BadSettings
        If the extra ``fhir`` is not installed.
    ValueError
        If it is none: a defect of ours. The message quotes no value.
    """
    try:
        model: Any = importlib.import_module(_PACKAGES[version]).Bundle
    except ModuleNotFoundError as error:
        raise BadSettings("FHIR needs the extra fhir: pip install 'spinepacs[fhir]'") from error
    try:
        model.model_validate(found)
    except ValueError as error:
        errors: list[Any] = getattr(error, "errors", list)()
        places = [".".join(map(str, each["loc"])) + f": {each['type']}" for each in errors]
        raise ValueError(f"no Bundle of FHIR {version}: {'; '.join(places)}") from None
    for entry in found["entry"]:
        resource = entry["resource"]
        if resource["status"] not in STATUSES[resource["resourceType"]]:
            raise ValueError(f"no status of a {resource['resourceType']}: {resource['status']}")
    return found
