"""HTML without a template library: elements that escape what they are given, and the style of a printed page."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from spinepacs.language import spoken


class Html(str):
    """Text that is markup already; every other text is escaped where it is put in."""

    __slots__ = ()


def tag(name: str, *parts: str, **attributes: str | None) -> Html:
    """Return an element. Attributes that are None are left out; ``class_`` stands for ``class``."""
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{said}>{joined(parts)}</{name}>")


def image(source: str, alt: str) -> Html:
    """Return a picture; the one element used here that has no end."""
    return Html(f'<img src="{escape(source)}" alt="{escape(alt)}">')


def joined(parts: Iterable[str]) -> Html:
    """Markup as it is, text escaped."""
    return Html("".join(part if isinstance(part, Html) else escape(part) for part in parts))


def table(caption: str, columns: dict[str, list[str]]) -> Html:
    """Return a table of columns by their heads, the first of which names the rows; columns of dashes are left out.

    Nothing where there are no rows.
    """
    names, *_ = columns
    kept = {head: cells for head, cells in columns.items() if head == names or set(cells) != {NONE}}
    if not columns[names]:
        return Html("")
    heads = tag("tr", *(tag("th", head, scope="col") for head in kept))
    rows = (
        tag("tr", tag("th", row, scope="row"), *(tag("td", cell) for cell in cells))
        for row, *cells in zip(*kept.values(), strict=True)
    )
    return tag("table", tag("caption", caption), tag("thead", heads), tag("tbody", *rows))


NONE = "–"
"""Stands where a table has nothing to say."""


def document(title: str) -> Html:
    """Return what a file begins with.

    HTML lets the end tags of ``body`` and ``html`` be left out (WHATWG HTML, 13.1.2.4), so that articles can be
    appended one by one and the file is a whole one after each.
    """
    head = tag("title", title) + tag("style", Html(STYLE))
    return Html(f'<!DOCTYPE html>\n<html lang="{spoken()}">\n<head>{_META}{head}</head>\n<body>\n')


_META = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'

STYLE = """
@page { size: A4 portrait; margin: 8mm 11mm }
* { box-sizing: border-box }
body { margin: 0; background: #e9ebee; color: #14181d;
  font: 8.6pt/1.32 "Liberation Sans", Arial, Helvetica, sans-serif }
article { --space: .7mm; display: flex; flex-direction: column; gap: 2.2mm; width: 210mm; min-height: 297mm;
  margin: 6mm auto; padding: 8mm 11mm; background: #fff; print-color-adjust: exact; -webkit-print-color-adjust: exact }
.close { --space: .1mm; font-size: 7.5pt; line-height: 1.22; gap: 1.4mm }
.close .words { gap: 1.4mm }
h1 { margin: 0; font-size: 14pt; line-height: 1.15 }
h2, caption { margin: 0 0 .6mm; font-size: 9pt; font-weight: bold; text-align: left; color: #0b3d63 }
p, ul { margin: 0 }
ul { padding-left: 3.6mm }
header { border-bottom: .5mm solid #0b3d63; padding-bottom: 1.4mm }
.warning { font-weight: bold; color: #8a1c1c }
.patient { font-weight: bold }
.upper { display: grid; grid-template-columns: var(--picture) 1fr; gap: 5mm;
  flex: 1 1 auto; min-height: max-content; max-height: var(--film) }
figure { display: flex; flex-direction: column; gap: .6mm; margin: 0 }
figure div { position: relative; flex: 1 1 auto }
figure img { position: absolute; inset: 0; width: 100%; height: 100%;
  object-fit: contain; object-position: left top }
figcaption { font-size: 6.9pt; line-height: 1.2; color: #333b44 }
.words { display: flex; flex-direction: column; gap: 2.2mm; min-height: 92mm }
table { border-collapse: collapse; width: 100%; font-size: 6.7pt; line-height: 1.22;
  font-variant-numeric: tabular-nums }
th, td { padding: var(--space) .85mm; white-space: nowrap; text-align: left; vertical-align: baseline;
  border-bottom: .1mm solid #cfd5db }
th:first-child, td:first-child { padding-left: 0 }
thead th { white-space: normal; font-weight: normal; color: #46505a; border-bottom: .25mm solid #46505a;
  vertical-align: bottom }
tbody th { font-weight: bold }
small { font-size: 84%; color: #46505a }
sup { line-height: 0 }
.halves table { font-size: 6.4pt }
.halves { display: grid; grid-template-columns: 1fr 1fr; gap: 4mm; align-items: start }
.grade { padding: 0 .9mm; border-radius: .7mm; color: #000 }
.g1 { background: #ffeb99 }
.g2 { background: #ffc466 }
.g3 { background: #ff9a66 }
.g4 { background: #f48aa8 }
.notes, footer { font-size: 7.4pt; color: #333b44 }
.close .notes, .close footer { font-size: 6.9pt; line-height: 1.25 }
footer { margin-top: auto; border-top: .2mm solid #9aa4ae; padding-top: 1mm }
@media print {
  body { background: none }
  article { width: auto; min-height: 280mm; margin: 0; padding: 0; break-after: page }
  article:last-of-type { break-after: auto }
  tr, h2 { break-inside: avoid }
}
"""
"""The picture takes what the words leave of a sheet: it has no size of its own, so that a film fills one A4 page."""
