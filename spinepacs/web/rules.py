"""Rules: which of them takes or refuses a film and why, and what is believed of it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import Response

from spinepacs.errors import BadInput
from spinepacs.language import _
from spinepacs.store import story
from spinepacs.web.site import Visit

_PIECE = 1 << 20


def show(visit: Visit) -> Response:
    """The page, with nothing asked yet."""
    return visit.page("rules.html", **_page(visit))


def explain(visit: Visit) -> Response:
    """The page with what the rules make of a file that was sent along, or of an image that has come before."""
    calling_ae, sop_uid = visit.form.get("calling_ae", "").strip(), visit.form.get("sop_uid", "").strip()
    upload = visit.files.get("film")
    try:
        if upload is not None and upload.filename:
            visit.note("rules-tried", detail="a file that was sent along")
            with _kept(visit, upload) as path:
                found = _explained(visit, path, calling_ae)
        else:
            found = _explained(visit, _path_of(visit, sop_uid), calling_ae)
    except BadInput as error:
        why = f"{error.reason_code}: {error}"
        return visit.page(
            "rules.html", 422, **_page(visit, error=why, sop_uid=sop_uid, calling_ae=calling_ae)
        )
    return visit.page("rules.html", **_page(visit, found=found, sop_uid=sop_uid, calling_ae=calling_ae))


def _page(visit: Visit, **values: Any) -> dict[str, Any]:
    rules = visit.site.settings.selection
    empty = {"found": None, "error": "", "sop_uid": "", "calling_ae": ""}
    return {"rules": rules, "maximum_mb": visit.site.settings.web.maximum_upload_mb} | empty | values


def _explained(visit: Visit, path: Path, calling_ae: str) -> dict[str, Any]:
    settings = visit.site.settings
    character_set = settings.reading.default_character_set
    return visit.site.darkroom.explain(path, settings.selection, calling_ae, character_set)


def _path_of(visit: Visit, sop_uid: str) -> Path:
    ledger = visit.site.ledger
    sha256 = story.film_file(ledger, sop_uid) if sop_uid else None
    if sha256 is None:
        raise BadInput("UNKNOWN", _("no image of this SOP Instance UID is in the spool: drop its file here"))
    visit.note("rules-tried", story.study_of(ledger, sop_uid) or "", f"image {sop_uid}")
    return visit.site.spool.path_of(sha256)


@contextmanager
def _kept(visit: Visit, upload: UploadFile) -> Iterator[Path]:
    """Keep what was sent along as a file without the sender's name, for as long as it is looked at."""
    limit = visit.site.settings.web.maximum_upload_mb * 1_000_000
    descriptor, name = tempfile.mkstemp(prefix="rules-", dir=visit.site.spool.own_folder)
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            while piece := upload.file.read(_PIECE):
                file.write(piece)
                if file.tell() > limit:
                    raise HTTPException(413, _("this file is larger than web.maximum_upload_mb"))
        yield path
    finally:
        path.unlink(missing_ok=True)
