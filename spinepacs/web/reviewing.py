"""The one child of this process in which drafts of corrections are tried, and printable pages made."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spinepacs.domain.corrections import Draft
    from spinepacs.domain.findings import Refusal
    from spinepacs.review.child import Preview
    from spinepacs.review.preview import Reviewer
    from spinepacs.settings.settings import Settings


class Reviewing:
    """A :class:`~spinepacs.review.preview.Reviewer` that is begun with the first draft: it takes no memory before."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._reviewer: Reviewer | None = None

    def preview(self, sop_uid: str, draft: Draft) -> Preview | Refusal:
        """What a draft would make of a film's current reading, or why it cannot be; for any thread."""
        return self._begun().preview(sop_uid, draft)

    def page(self, sop_uid: str, *, with_identity: bool) -> str | Refusal:
        """A film's current reading as one HTML file to be printed, or why it cannot be; for any thread."""
        return self._begun().page(sop_uid, with_identity=with_identity)

    def close(self) -> None:
        """End the child."""
        if (reviewer := self._reviewer) is not None:
            reviewer.close()

    def _begun(self) -> Reviewer:
        from spinepacs.review.preview import Reviewer

        with self._lock:
            if self._reviewer is None:
                self._reviewer = Reviewer(self._settings)
            return self._reviewer
