"""The page of a film as PDF, for archives that show documents: by WeasyPrint (extra ``pdf``); nothing is fetched."""

from __future__ import annotations

from PIL import ImageFile

from spinepacs.domain.findings import ImageResult
from spinepacs.domain.study import StudyHeader
from spinepacs.errors import BadSettings
from spinepacs.show.page.article import article, page_title
from spinepacs.show.page.html import document

_STYLE = """
article { display: block !important; min-height: 0 !important }
article > * + *, .words > * + * { margin-top: 1.8mm !important }
.upper { display: table !important; table-layout: fixed; width: 100%; max-height: none !important }
figure { display: table-cell !important; width: calc(var(--picture) + 4mm); padding-right: 4mm; vertical-align: top }
figure div { height: calc(var(--film) - 7mm) }
.words { display: table-cell !important; vertical-align: top; min-height: 0 !important }
.halves { display: table !important; table-layout: fixed; width: 100% }
.halves > * { display: inline-table; width: 48.5%; margin-right: 1.4%; vertical-align: top }
"""
"""Tables in place of flex boxes and grids: WeasyPrint 70 lays those within one another out again and again, 26 s for
the page of a whole spine instead of 2."""


def load_weasyprint() -> None:
    """Load WeasyPrint, or say what to do if it, or the Pango that it needs, is not there.

    Its import makes Pillow accept damaged pictures without a word, everywhere in the process: that is taken back.

    Raises
    ------
    BadSettings
        If it cannot be used.
    """
    lenient = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        import weasyprint  # noqa: F401 - whether it is there
    except ImportError as error:
        raise BadSettings("send = [\"PDF\"] needs the extra pdf: pip install 'spinepacs[pdf]'") from error
    except OSError as error:
        raise BadSettings("WeasyPrint needs Pango: apt install libpango-1.0-0 libpangoft2-1.0-0") from error
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient


def as_pdf(result: ImageResult, header: StudyHeader) -> bytes:
    """Print the page of one film, with patient ID and accession number on it: it goes where the film is.

    The same result gives the same bytes.
    """
    load_weasyprint()
    from weasyprint import CSS, HTML
    from weasyprint.urls import URLFetcher

    title = page_title(header)
    page = document(title) + article(result, header, with_identity=True)
    only_inside = URLFetcher(allowed_protocols=("data",))
    pdf: bytes = HTML(string=page, url_fetcher=only_inside).write_pdf(stylesheets=[CSS(string=_STYLE)])
    return pdf
