"""Every text is in every catalogue, whole; and what people are shown is in the language that they have chosen."""

from __future__ import annotations

import ast
import gettext
import html
import io
import re
import string
from contextlib import nullcontext
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from babel.messages.catalog import Catalog
from click.testing import CliRunner

from spinepacs import language
from spinepacs.cli.main import main
from spinepacs.dicom import tongue
from spinepacs.dicom.objects import encode_all
from spinepacs.dicom.overlay import draw
from spinepacs.dicom.overlay.picture import draw_overlay
from spinepacs.dicom.overlay.presentation import encode_presentation
from spinepacs.dicom.report.document import encode_report
from spinepacs.domain import sentences, words
from spinepacs.domain.findings import EncodedObject, ObjectKind, Reading, Refusal
from spinepacs.domain.refusals import refusal_words
from spinepacs.domain.signs import Area, ForAge, Statement
from spinepacs.domain.study import View
from spinepacs.language import LANGUAGES, Language, _, n_, speaking, spoken
from spinepacs.settings.sections import OutputSettings
from spinepacs.show.export import Cut, export
from spinepacs.show.sheet import draw as sheet
from spinepacs.store import queries
from spinepacs.store.ledger import Ledger
from tests import languages
from tests.dicom import readings
from tests.dicom.report.test_document import worn
from tests.dicom.tools import dciodvfy_errors
from tests.show import test_page
from tests.store import makers

OTHERS = LANGUAGES[1:]
LATIN = re.compile(r"[A-Za-z]{2,}")
LETTERS = dict(zip(string.ascii_letters, "абвгдежзийклмнопрстуфхцчшщАБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩ", strict=True))
NAMES = frozenset(
    (
        "spinepacs",
        "spine",
        "default",
        "UID",
        "UTC",
        "Wilke",
        "Walraevens",
        "Kettler",
        "Cobb",
        "II",
        "III",
        "IV",
        "Os",
        "Sc",
        "et",
        "al",
    )
)
"""What is the same in every language: names, Roman numerals, letters of signs, and keywords of the Standard."""


class Marked(gettext.NullTranslations):
    """Says every text in Cyrillic letters that mean nothing, but for its placeholders and soft hyphens."""

    def gettext(self, message: str) -> str:
        parts = re.split(r"(\{\w+\})", message)
        return "".join(
            part if part.startswith("{") else "".join(LETTERS.get(letter, letter) for letter in part)
            for part in parts
        )

    def pgettext(self, context: str, message: str) -> str:
        return self.gettext(message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self.gettext(msgid1 if n == 1 else msgid2)


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Russian is a language in which whatever stays in Latin letters was never given to be translated."""
    monkeypatch.setattr(language, "catalogue", lambda _: Marked())


def left_over(text: str) -> set[str]:
    """Words in Latin letters that are no code, number or name."""
    text = re.sub(r"\b[CTLS]\d+(?:[-–/][CTLS]?\d*)*\b", " ", text.replace("\u00ad", ""))
    text = re.sub(r"\b[A-Z]+_[A-Z_]+\b|\b[\w.]*\d[\w.]*\b", " ", text)
    return set(LATIN.findall(text)) - NAMES


@pytest.fixture(scope="session")
def found() -> Catalog:
    return languages.extracted()


def test_texts_are_given_as_they_stand_in_the_catalogues() -> None:
    """Nothing that is put together first, which no catalogue could know."""
    put_together = []
    for path in sorted(languages.PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            if isinstance(node, ast.Call) and name in ("_", "N_", "p_", "NP_", "n_"):
                put_together += [
                    f"{path.name}:{each.lineno}"
                    for each in node.args
                    if isinstance(each, (ast.JoinedStr, ast.BinOp)) and name != "n_"
                ]
    assert put_together == []


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def strings(value: Any) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


@pytest.mark.parametrize("code", OTHERS)
def test_every_text_has_a_whole_translation(code: Language, found: Catalog) -> None:
    catalogue = languages.catalogue(code)
    missing, torn = [], []
    for text in found:
        if not text.id:
            continue
        known = catalogue.get(strings(text.id)[0], text.context)
        said = strings(known.string) if known else ()
        if not said or not all(said) or known is None or known.fuzzy:
            missing.append(text.id)
            continue
        if isinstance(text.id, tuple) and len(said) != catalogue.num_plurals:
            missing.append(text.id)
        torn += [each for each in said if placeholders(each) != placeholders(strings(text.id)[-1])]
        torn += [
            each
            for each in said
            if bool(re.match(r"\s|,", each)) != bool(re.match(r"\s|,", strings(text.id)[0]))
        ]
    assert missing == []
    assert torn == []


@pytest.mark.parametrize("code", OTHERS)
def test_no_text_is_kept_that_is_gone_and_the_program_reads_what_people_have_written(
    code: Language, found: Catalog
) -> None:
    keys = {(strings(text.id)[0], text.context) for text in found}
    catalogue = languages.catalogue(code)
    assert {(strings(each.id)[0], each.context) for each in catalogue} <= keys, "python -m tests.languages"
    assert languages.path_of(code, "mo").read_bytes() == languages.compiled(code), "python -m tests.languages"


def test_russian_has_three_forms_of_a_number() -> None:
    with speaking("ru"):
        said = [n_("{count} year", "{count} years", number) for number in (1, 3, 11, 25, 41)]
    assert said == ["1 год", "3 года", "11 лет", "25 лет", "41 год"]
    assert _("Vertebrae") == "Vertebrae"


REPORT = ("dicom/report/", "dicom/codes.py", "dicom/identity.py", "domain/")
"""Where the texts of reports come from."""


@pytest.mark.parametrize(("code", "charset"), [("ru", "iso8859_5"), ("de", "iso8859_1")])
def test_texts_of_reports_fit_the_character_set_of_their_language(
    code: Language, charset: str, found: Catalog
) -> None:
    catalogue, letters = languages.catalogue(code), tongue.LETTERS[code]
    for text in found:
        if text.id and any(place.startswith(REPORT) for place, _ in text.locations):
            for said in strings(getattr(catalogue.get(strings(text.id)[0], text.context), "string", "")):
                said.encode(charset)
                assert all(letter.isascii() or letter in letters for letter in said), said
                is_meaning = not placeholders(said) and len(strings(text.id)[0]) <= 64
                assert len(said) <= 64 or not is_meaning or len(strings(text.id)[0]) > 50, said


@pytest.mark.parametrize("code", OTHERS)
def test_the_picture_has_every_letter(code: Language) -> None:
    from fontTools.ttLib import TTFont

    from spinepacs.dicom.overlay.letters import FONT

    with TTFont(FONT) as font:
        has = set(font.getBestCmap())
    said = "".join(each for text in languages.catalogue(code) for each in strings(text.string))
    assert {letter for letter in said if ord(letter) not in has and letter != "\n"} == set()


def output(code: Language = "ru", **changes: Any) -> OutputSettings:
    return OutputSettings(language=code, **changes)


def full() -> Reading:
    """A reading that says nearly everything that one can say."""
    plain = worn()
    said = [
        replace(plain.conclusions[0], area=area, statement=statement, for_age=age, published_degree=degree)
        for area, statement, degree, age in zip(
            list(Area), list(Statement)[1:], (0, 1, 1, 2, 3), [*ForAge, None, None], strict=True
        )
    ]
    return replace(plain, conclusions=(*said, readings.reading(readings.header()).conclusions[1]))


@pytest.mark.usefixtures("marked")
@pytest.mark.parametrize("spacing", [readings.SPACING, None])
@pytest.mark.parametrize("view", [View.LATERAL, View.AP])
def test_no_word_of_the_picture_is_untranslated(
    monkeypatch: pytest.MonkeyPatch, view: View, spacing: Any
) -> None:
    written: list[str] = []

    def write(picture: Any, x: float, y: float, token: Any, *rest: Any) -> None:
        written.extend([token] if isinstance(token, str) else [token.text, token.word])

    monkeypatch.setattr(draw, "write", write)
    reading = replace(full(), spacing=spacing)
    if view is View.AP:
        reading = readings.reading(readings.header(), spacing=spacing, view=view)
    reading = replace(reading, notes=(*words.NOTES,))
    with speaking("ru"):
        draw_overlay(readings.display(), reading)
        draw_overlay(
            readings.display(), replace(reading, refusal=Refusal("NOT_DICOM", "it is no DICOM file"))
        )
    assert len(written) > 40
    assert left_over(" ".join(written)) == set()


@pytest.mark.usefixtures("marked")
def test_no_word_of_the_printable_page_is_untranslated(tmp_path: Path) -> None:
    for n, image in enumerate(
        (test_page.full_spine(), test_page.result(view=View.AP), test_page.result(spacing=None))
    ):
        reading = replace(image.reading, notes=(*words.NOTES,)) if n else image.reading
        with speaking("ru"):
            text = test_page.text_of(replace(image, reading=reading), tmp_path, with_identity=True)
        assert '<html lang="ru">' in text
        shown = re.sub(r"<style>.*?</style>|src=\"[^\"]*\"", "", text, flags=re.DOTALL)
        shown += " ".join(re.findall(r'alt="([^"]*)"', text))
        seen = left_over(html.unescape(re.sub(r"<[^>]+>", " ", shown)))
        assert seen - {"SECRET", "ACC", "Spine", "hip"} == set()


@pytest.mark.usefixtures("marked")
def test_no_word_of_the_sheet_is_untranslated(ledger: Ledger) -> None:
    makers.recorded_with_signs(ledger, makers.SOP)
    films = queries.find_films(ledger)
    with speaking("ru"):
        text = sheet.draw(films)
        assert left_over(text.replace("LWS seitlich", "")) - {"PAT", "ACC", "disc", "height"} == set()
        assert left_over(sheet.draw([])) == set()


def test_conclusions_rest_on_all_findings_though_a_level_cuts_the_film(ledger: Ledger) -> None:
    makers.recorded_with_signs(ledger, makers.SOP)
    (whole,) = queries.find_films(ledger)
    (cut,) = queries.find_films(ledger, level="L4")
    assert len(cut["findings"]) < len(whole["findings"])
    with speaking("ru"):
        said = [line for line in sheet.draw([whole]).splitlines() if "→" in line]
        file = io.StringIO()
        export(ledger, None, "table", file, Cut(None), {"level": "L4"})
    assert [line for line in file.getvalue().splitlines() if "→" in line] == said
    assert "антелистез I степени на уровне L5/S1" in " ".join(said)


def test_findings_are_in_english_unless_asked(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "ru_RU.UTF-8")
    makers.recorded_with_signs(ledger, makers.SOP)
    config = tmp_path / "spinepacs.toml"
    config.write_text(
        f"[storage]\ndatabase_url = {ledger.url!r}\n[output]\nlanguage = 'ru'\n", encoding="utf-8"
    )
    monkeypatch.setenv("SPINEPACS_DATABASE_URL", ledger.url)
    asked = CliRunner().invoke(main, ["findings", "--config", str(config)])
    assert "Lumbar lordosis" in asked.output, asked.output
    asked = CliRunner().invoke(main, ["findings", "--config", str(config), "--language", "ru"])
    assert "Поясничный лордоз" in asked.output
    rows = [CliRunner().invoke(main, ["findings", "--config", str(config), "--csv", *more]).output
            for more in ([], ["--language", "ru"])]  # fmt: skip
    assert rows[0] == rows[1]


def texts(encoded: EncodedObject, *, ours: bool = True) -> list[str]:
    """Free texts of an object, and meanings of our own codes."""
    dataset = pydicom.dcmread(BytesIO(encoded.part10))
    said: list[str] = []

    def look(part: Any, element: Any) -> None:
        if element.keyword in ("TextValue", "UnformattedTextValue", "GraphicLayerDescription"):
            said.append(str(element.value))
        elif element.keyword == "CodeMeaning" and part.CodingSchemeDesignator == "99SPINEPACS" and ours:
            said.append(element.value)

    dataset.walk(look)
    return said


@pytest.mark.usefixtures("marked")
def test_no_word_of_report_and_presentation_state_is_untranslated() -> None:
    header, reading = readings.header(SpecificCharacterSet="ISO_IR 192"), full()
    report = encode_report(header, reading, None, output())
    assert left_over(" ".join(texts(report))) - {"something", "new", "Something"} == set()
    state = encode_presentation(header, reading, readings.film(header).shown, output())
    assert len(texts(state)) > 10
    assert left_over(" ".join(texts(state))) == set()


def said_language(encoded: EncodedObject) -> str:
    dataset = pydicom.dcmread(BytesIO(encoded.part10))
    return str(dataset.ContentSequence[0].ConceptCodeSequence[0].CodeValue)


@pytest.mark.parametrize(
    ("code", "charset", "name", "expected", "states"),
    [
        ("ru", "ISO_IR 144", "Иванов^Пётр", "ru", "ISO_IR 144"),
        ("ru", "ISO_IR 192", "Иванов^Пётр", "ru", "ISO_IR 192"),
        ("ru", "ISO_IR 100", "Smith^John", "ru", "ISO_IR 192"),
        ("ru", None, "Smith^John", "ru", "ISO_IR 192"),
        ("ru", "ISO_IR 100", "Müller^Jörg", "en", "ISO_IR 100"),
        ("ru", "ISO_IR 13", "Yamada^Tarou", "en", "ISO_IR 13"),
        ("ru", ["ISO_IR 100", "ISO 2022 IR 101"], "Smith^John", "en", ["ISO_IR 100", "ISO 2022 IR 101"]),
        ("ru", ["", "ISO 2022 IR 144"], "Smith^John", "ru", ["", "ISO 2022 IR 144"]),
        ("de", "ISO_IR 100", "Müller^Jörg", "de", "ISO_IR 100"),
        ("de", "ISO_IR 144", "Иванов^Пётр", "en", "ISO_IR 144"),
        ("en", None, "Smith^John", "en", None),
    ],
)
def test_a_report_is_in_the_language_of_the_settings_where_its_character_set_has_the_letters(
    code: Language, charset: Any, name: str, expected: str, states: Any
) -> None:
    header, reading = readings.header(SpecificCharacterSet=charset, PatientName=name), full()
    report = encode_report(header, reading, None, output(code))
    dataset = pydicom.dcmread(BytesIO(report.part10))
    assert said_language(report) == expected
    assert dataset.get("SpecificCharacterSet") == states
    assert str(dataset.PatientName) == name
    first = {"en": "Not for", "ru": "Не для", "de": "Nicht für"}[expected]
    assert any(text.startswith(first) for text in texts(report))
    assert not any("?" in text.replace("(?)", "") for text in texts(report))


def test_another_language_is_another_object_and_its_numbers_are_the_same() -> None:
    header, reading = readings.header(SpecificCharacterSet="ISO_IR 192"), full()
    by_code = {code: encode_report(header, reading, None, output(code)) for code in LANGUAGES}
    assert len({each.sop_uid for each in by_code.values()}) == len(LANGUAGES)

    def values(encoded: EncodedObject) -> list[str]:
        dataset = pydicom.dcmread(BytesIO(encoded.part10))
        seen = []
        dataset.walk(
            lambda part, e: seen.append(str(e.value)) if e.keyword in ("NumericValue", "CodeValue") else None
        )
        return [each for each in seen if each not in LANGUAGES]

    assert values(by_code["en"]) == values(by_code["ru"]) == values(by_code["de"])


def test_all_objects_of_a_film_are_in_one_language_and_nothing_else_is() -> None:
    header = readings.header(SpecificCharacterSet="ISO_IR 192")
    made = {}
    for code in LANGUAGES:
        settings = output(code, presentation_state_enabled=True)
        found = encode_all(
            readings.film(header), readings.display(), full(), settings, lambda _: nullcontext()
        )
        for item in found:  # one at a time, as the pipeline takes them
            made[code, item.kind] = item
            assert spoken() == "en"
    for code in OTHERS:
        assert made[code, ObjectKind.SEG] == made["en", ObjectKind.SEG]
        for kind in (ObjectKind.SR, ObjectKind.OVERLAY, ObjectKind.GSPS):
            assert made[code, kind].sop_uid != made["en", kind].sop_uid
            assert made[code, kind].part10 != made["en", kind].part10
    assert "Не для диагностических целей" in " ".join(texts(made["ru", ObjectKind.GSPS]))


@pytest.mark.peer
@pytest.mark.parametrize(("code", "charset"), [("ru", "ISO_IR 144"), ("de", "ISO_IR 100")])
def test_a_validator_finds_no_more_fault_than_in_english(
    tmp_path: Path, code: Language, charset: str
) -> None:
    header = readings.header(SpecificCharacterSet=charset)
    faults = {}
    for each in ("en", code):
        file = tmp_path / f"{each}.dcm"
        file.write_bytes(encode_report(header, full(), None, output(each)).part10)
        faults[each] = dciodvfy_errors(file)
    assert faults[code] == faults["en"]


def test_a_sentence_in_english_is_what_it_was_when_it_was_made() -> None:
    made = readings.reading(readings.header()).conclusions[0]
    assert sentences.sentence(made) == made.sentence
    with speaking("ru"):
        assert sentences.english(replace(made, sentence="")).startswith("Cervical spine (C2-C7): moderate")
        assert sentences.sentence(made).startswith("Шейный отдел позвоночника (C2-C7): умеренно выраженные")
        assert sentences.sentence(made).endswith("Требуется оценка врача.")


def test_a_refusal_is_said_by_its_code_with_what_is_special_about_it() -> None:
    with speaking("ru"):
        assert refusal_words("NO_VERTEBRA_FOUND", "no vertebra was found on this film").startswith("на этом")
        assert refusal_words("NOT_SELECTED", "Modality is MR").endswith("(Modality is MR)")
        assert refusal_words("NEW_CODE", "something new") == "something new"
    assert refusal_words("NOT_SELECTED", "Modality is MR") == "Modality is MR"
