"""Which rule takes or refuses a film, and what is believed of it: by a file, or by an image that has come."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from tests import films
from tests.web.consoles import Console, console
from tests.web.test_studies import part10, with_file


def shown(text: str) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text.partition("<main")[2])))


def test_a_film_that_would_be_read_with_the_ground_of_each_belief(site: Console) -> None:
    visitor = site.visitor()
    film = films.make_dx(BodyPartExamined="LSPINE", ViewPosition="LL", ImagerPixelSpacing=[0.15, 0.15])
    answer = visitor.upload("/rules", part10(film), csrf=visitor.csrf)
    assert answer.status == 200
    said = shown(answer.text)
    assert "It would be read" in said
    assert "BodyPartExamined is LSPINE of selection.body_parts" in said
    assert re.search(r"view LATERAL ViewPosition \(0018,5101\)", said)
    assert re.search(
        r"pixel spacing 0.15 × 0.15 mm in the detector plane \(magnified\) ImagerPixelSpacing \(0018,1164\)",
        said,
    )
    for secret in films.SECRETS:
        assert secret not in answer.text


def test_the_rule_that_refuses_is_named_and_so_are_those_that_do_not(site: Console) -> None:
    visitor = site.visitor()
    film = films.make_dx(Modality="DX", BodyPartExamined="HAND", StudyDescription="HAND", SeriesDescription=None,
                         ProtocolName=None, AnatomicRegionSequence=None, ViewCodeSequence=None)  # fmt: skip
    said = shown(visitor.upload("/rules", part10(film), csrf=visitor.csrf).text)
    assert "It would not be read" in said
    assert "NOT_SELECTED" in said
    assert "body_parts, descriptions no" in said
    assert "modalities yes Modality is among selection.modalities" in said


def test_rules_about_the_sender_are_tried_with_the_one_that_is_given(ledger: Ledger, spool: Spool) -> None:
    with console(ledger, spool, selection={"calling_ae_titles": ["XRAY1"]}) as running:
        visitor, film = running.visitor(), part10(films.make_dx(BodyPartExamined="LSPINE"))
        csrf = visitor.csrf
        assert "It would not be read" in visitor.upload("/rules", film, csrf=csrf).text
        assert "It would be read" in visitor.upload("/rules", film, csrf=csrf, calling_ae="XRAY1").text


def test_an_image_that_has_come_is_explained_by_its_uid(site: Console) -> None:
    with_file(site.ledger, site.spool, part10(films.make_dx(BodyPartExamined="LSPINE")))
    visitor = site.visitor()
    form = {"csrf": visitor.csrf, "sop_uid": "1.2.3.1.1"}
    assert "It would be read" in visitor.post("/rules", form).text
    unknown = visitor.post("/rules", form | {"sop_uid": "9.9"})
    assert unknown.status == 422
    assert "no image of this SOP Instance UID" in unknown.text


@pytest.mark.parametrize(
    "content", [b"", b"no DICOM at all", b"\0" * 128 + b"DICM", b"\x89PNG" + b"x" * 4000]
)
def test_what_is_no_film_is_said_and_nothing_of_it_stays(
    site: Console, tmp_path: Path, content: bytes
) -> None:
    visitor = site.visitor()
    answer = visitor.upload("/rules", content, csrf=visitor.csrf)
    assert answer.status == 422
    assert 'role="alert"' in answer.text
    assert not list(tmp_path.rglob("rules-*"))
