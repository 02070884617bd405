"""Codes of the database in words for the pages: states, columns, what happened, why something waits."""

from __future__ import annotations

import re

from spinepacs.domain import words
from spinepacs.domain.refusals import refusal_words
from spinepacs.language import N_, NP_, _, n_

STATES = words.Words(
    {
        "arriving": NP_("state", "arriving"),
        "ready": NP_("state", "ready"),
        "working": NP_("state", "working"),
        "recorded": NP_("state", "recorded"),
        "delivered": NP_("state", "delivered"),
        "refused": NP_("state", "refused"),
        "failed": NP_("state", "failed"),
        "received": NP_("state", "received"),
        "selected": NP_("state", "selected"),
        "unreadable": NP_("state", "unreadable"),
        "conflict": NP_("state", "conflict"),
        "pending": NP_("state", "pending"),
        "sent": NP_("state", "sent"),
        "committed": NP_("state", "committed"),
        "withdrawn": NP_("state", "withdrawn"),
        "done": NP_("state", "done"),
        "superseded": NP_("state", "superseded"),
        "queued": NP_("state", "queued"),
        "in work": NP_("state", "in work"),
        "waits": NP_("state", "waits"),
        "being sent": NP_("state", "being sent"),
        "not all sent": NP_("state", "not all sent"),
    },
    "state",
)
"""Of studies, images, results and corrections."""
WHAT = words.Words(
    {
        "study": NP_("row", "study"),
        "object": NP_("row", "object"),
        "file": NP_("row", "file"),
        "film": NP_("row", "film"),
        "images": NP_("row", "images"),
        "folder": NP_("row", "folder"),
        "workitem": NP_("row", "workitem"),
        "priors": NP_("row", "priors"),
    },
    "row",
)
"""What a row of the queue is about."""
COLUMNS = words.Words(
    {
        "study_uid": N_("Study uid"),
        "state": N_("State"),
        "reason_code": N_("Reason code"),
        "reason": N_("Reason"),
        "patient_id": N_("Patient ID"),
        "patient_sex": N_("Patient sex"),
        "patient_age_years": N_("Patient age years"),
        "study_date": N_("Study date"),
        "accession_number": N_("Accession number"),
        "study_description": N_("Study description"),
        "modality": N_("Modality"),
        "body_part": N_("Body part"),
        "images": N_("Images"),
        "images_selected": N_("Images selected"),
        "images_read": N_("Images read"),
        "vertebrae": N_("Vertebrae"),
        "discs": N_("Discs"),
        "highest_grade": N_("Highest grade"),
        "highest_degree": N_("Highest degree"),
        "objects_pending": N_("Objects pending"),
        "objects_sent": N_("Objects sent"),
        "objects_failed": N_("Objects failed"),
        "objects_committed": N_("Objects committed"),
        "objects_uncommitted": N_("Objects uncommitted"),
        "attempts": N_("Attempts"),
        "first_arrival_at": N_("First arrival at"),
        "last_arrival_at": N_("Last arrival at"),
        "changed_at": N_("Changed at"),
        "patients": N_("Patients"),
    }
)
"""Of the list of studies."""
ROLES = words.Words(
    {
        "viewer": NP_("role", "viewer"),
        "reader": NP_("role", "reader"),
        "administrator": NP_("role", "administrator"),
        "sender": NP_("role", "sender"),
    },
    "role",
)
STEPS = words.Words(
    {
        "read": NP_("step", "read"),
        "normalise": NP_("step", "normalise"),
        "infer": NP_("step", "infer"),
        "segment": NP_("step", "segment"),
        "levels": NP_("step", "levels"),
        "label": NP_("step", "label"),
        "trace": NP_("step", "trace"),
        "measure": NP_("step", "measure"),
        "grade": NP_("step", "grade"),
        "segmentation": NP_("step", "segmentation"),
        "report": NP_("step", "report"),
        "overlay": NP_("step", "overlay"),
        "presentation": NP_("step", "presentation"),
    },
    "step",
)
"""Of a reading, by which its seconds are told."""
MOMENTS = words.Words(
    {
        "arrived": NP_("moment", "arrived"),
        "reading began": NP_("moment", "reading began"),
        "attempt failed": NP_("moment", "attempt failed"),
        "film read": NP_("moment", "film read"),
        "film refused": NP_("moment", "film refused"),
        "sent": NP_("moment", "sent"),
        "committed": NP_("moment", "committed"),
        "not sent": NP_("moment", "not sent"),
        "duplicate": NP_("moment", "duplicate"),
        "conflict": NP_("moment", "conflict"),
        "conflict released": NP_("moment", "conflict released"),
        "reopened": NP_("moment", "reopened"),
        "unreadable": NP_("moment", "unreadable"),
        "not kept": NP_("moment", "not kept"),
        "correction asked": NP_("moment", "correction asked"),
        "correction refused": NP_("moment", "correction refused"),
        "corrected": NP_("moment", "corrected"),
        "files deleted": NP_("moment", "files deleted"),
        "discarded": NP_("moment", "discarded"),
        "redirected": NP_("moment", "redirected"),
        "withdrawn": NP_("moment", "withdrawn"),
        "patients differ": NP_("moment", "patients differ"),
        "reread": NP_("moment", "reread"),
        "failed": NP_("moment", "failed"),
    },
    "moment",
)
"""What happened to a study; its details are codes, names and what other systems answered."""
_REASONS = (
    N_("there is no destination of this name in the settings any more"),
    N_("its commitment is awaited"),
)
_OBJECTS = re.compile(r"(\d+) objects (to be sent|failed|not committed yet)")
_CODED = re.compile(r"([A-Z][A-Z0-9_]+): (.+)", re.DOTALL)


def known(table: words.Words[str], code: object) -> str:
    """The words for a code; one that nobody has described as it is."""
    return table.get(str(code), str(code))


def column(name: str) -> str:
    """The head of a column."""
    plain = name.replace("_", " ").capitalize().replace(" id", " ID")
    return COLUMNS.get(name, plain)


def reason(text: str) -> str:
    """Why something waits or was refused: with a code in front, in words by that code."""
    if coded := _CODED.fullmatch(text):
        return f"{coded[1]}: {refusal_words(coded[1], coded[2])}"
    return _(text) if text in _REASONS else _OBJECTS.sub(_objects, text)


def _objects(found: re.Match[str]) -> str:
    number, what = int(found[1]), found[2]
    if what == "failed":
        return n_("{count} objects failed", "{count} objects failed", number)
    if what == "to be sent":
        return n_("{count} objects to be sent", "{count} objects to be sent", number)
    return n_("{count} objects not committed yet", "{count} objects not committed yet", number)
