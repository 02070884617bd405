from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from spinepacs.domain.signs import Sign
from spinepacs.errors import BadSettings
from spinepacs.settings import notifications
from spinepacs.settings.archives import ArchiveSettings
from spinepacs.settings.destinations import KINDS, DicomwebDestination
from spinepacs.settings.priors import PriorsSettings
from spinepacs.settings.settings import DATABASE_URL_VARIABLE, Settings, load
from spinepacs.settings.shipped import shipped
from spinepacs.settings.worklist import WorklistSettings

ROOT = Path(__file__).parents[2]
DESTINATION = '[[destinations]]\nname = "{name}"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = {port}\n'

ARCHIVE = '[[archives]]\nhost = "127.0.0.1"\nport = 2762\n'
WEB = '[[destinations]]\nname = "w"\nkind = "dicomweb"\nurl = "https://pacs.example.org/rs"\n'


HOOK = '[[notifications]]\nname = "ops"\nkind = "webhook"\nurl = "https://hook.example.org/x"\n'
MAIL = (
    '[[notifications]]\nname = "a"\nkind = "mail"\nhost = "mail.example.org"\nfrom_address = "a@example.org"\n'
    'to = ["b@example.org"]\n'
)


OIDC = '[web.oidc]\nissuer = "https://login.example.org"\nclient_id = "x"\nroles = { a = "reader" }\n'


def test_signs_of_notifications_are_those_that_there_are():
    assert set(get_args(notifications.GradedSign)) == {sign.value for sign in Sign}


def write(folder: Path, text: str) -> Path:
    path = folder / "spinepacs.toml"
    path.write_text(text)
    return path


def test_the_commented_file_shows_the_defaults():
    from_file, defaults = load(shipped("config", "spinepacs.toml")), Settings()
    assert from_file == defaults


def test_the_commented_file_names_every_key():
    text = shipped("config", "spinepacs.toml").read_text()
    for name, section in Settings():
        lists = {
            "destinations": KINDS.values(),
            "notifications": notifications.KINDS.values(),
            "archives": (ArchiveSettings,),
        }
        kinds = lists.get(name, (type(section),))
        for key in {key for kind in kinds for key in kind.model_fields}:
            assert key in text, f"{name}.{key} is not explained"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("[listener]\nport = 11112\nprot = 1\n", 3, "no such key"),
        ("[listner]\nport = 1\n", 1, "no such key"),
        ('[listener]\n\nae_title = "SEVENTEEN LETTERS"\n', 3, "1 to 16 printable"),
        ('[listener]\nae_title = "BACK\\\\SLASH"\n', 2, "no backslash"),
        ("[listener]\nport = 70000\n", 2, "less than or equal to 65535"),
        ('[assembly]\nquiet_period_s = "soon"\n', 2, "valid number"),
        ("[assembly]\nquiet_period_s = 0\n", 2, "greater than 0"),
        ('[selection]\ndescriptions = ["ok", "(not"]\n', 2, "regular expression"),
        ('[reading]\ndefault_character_set = "UTF-8"\n', 2, "defined term"),
        ("[reading]\ndefault_character_set = 'ISO 2022 IR 149'\n", 2, "defined term"),
        ('[output]\nsegmentation = "nice"\n', 2, "'compat', 'strict' or 'labelmap'"),
        (
            DESTINATION.format(name="a", port=1) + DESTINATION.format(name="b", port='"x"'),
            10,
            "valid integer",
        ),
        (DESTINATION.format(name="a", port=1) * 2, 1, "name of its own"),
        (DESTINATION.format(name="a", port=11112), 1, "own listener"),
        (DESTINATION.format(name="a", port=1) + 'send = ["GSPS"]\n', 1, "presentation_state_enabled = true"),
        (DESTINATION.format(name="a", port=1) + 'kind = "dicomweb"\n', 3, "no such key"),
        (DESTINATION.format(name="a", port=1) + 'kind = "ftp"\n', 1, 'kind is "dicom"'),
        (ARCHIVE * 2, 1, "one table"),
        (ARCHIVE + "tls_name = 1\n", 4, "no such key"),
        (WEB + "commitment = true\n", 1, "goes with kind"),
        (WEB.replace("https://pacs", "https://me:pw@pacs"), 4, "no user or password here"),
        (WEB.replace("https://pacs", "ftp://pacs"), 4, "http:// or https://"),
        (WEB.replace("/rs", "/rs#"), 4, "without ? and #"),
        (WEB.replace("/rs", "/rs?"), 4, "without ? and #"),
        (WEB.replace("/rs", "/rs?x=1"), 4, "without ? and #"),
        (WEB + 'user = "me"\n', 1, "needs its password"),
        (WEB + 'secret_file = "a"\nsecret_variable = "B"\n', 1, "not both"),
        (WEB.replace("https", "http") + 'secret_file = "a"\n', 1, "https:// only"),
        (HOOK + "prot = 1\n", 5, "no such key"),
        (HOOK * 2, 1, "every notification needs a name of its own"),
        (HOOK.replace("webhook", "pigeon"), 1, 'kind is "mail" or "webhook"'),
        (HOOK.replace("https", "http"), 1, "allow_plain_http = true"),
        (
            HOOK.replace("https", "http") + "allow_plain_http = true\nwith_identity = true\n",
            1,
            "needs https://",
        ),
        (HOOK.replace("/x", "/x\\ny"), 4, "no space"),
        (HOOK + 'on = ["sign"]\n', 1, "grades go together"),
        (HOOK + 'on = ["sign"]\ngrades = { bunions = 1 }\n', 6, "disc_height_loss"),
        (OIDC.replace("https", "http"), 2, "give https://"),
        (OIDC.replace('{ a = "reader" }', "{}"), 4, "at least 1"),
        (OIDC.replace('"reader"', '"sender"'), 4, "'viewer', 'reader' or 'administrator'"),
        (OIDC + 'scopes = ["profile"]\n', 5, 'name "openid"'),
        (MAIL.replace("b@", "b@x.org, c@"), 6, "no plain address"),
        (MAIL.replace("a@", "a\\r\\nBcc: c@"), 5, "no plain address"),
        (MAIL + 'user = "a"\n', 1, "go together"),
        (MAIL + 'user = "a"\nsecret_file = "b"\nsecurity = "none"\n', 1, "anybody could read it"),
        (MAIL + 'with_identity = true\nsecurity = "none"\n', 1, "anybody could read it"),
    ],
)
def test_a_mistake_is_refused_with_its_line_and_the_remedy(tmp_path: Path, text: str, line: int, said: str):
    path = write(tmp_path, text)
    with pytest.raises(BadSettings) as caught:
        load(path)
    assert f"{path}:{line}: " in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "terms",
    [
        "", "ISO_IR 100", "ISO_IR 13", "ISO_IR 192", "GB18030", "GBK", r"\ISO 2022 IR 149", r"\ISO 2022 IR 58",
        r"ISO 2022 IR 13\ISO 2022 IR 87", r"ISO 2022 IR 6\ISO 2022 IR 87\ISO 2022 IR 159",
    ],
)  # fmt: skip
def test_character_sets_are_spelt_as_the_standard_does(tmp_path: Path, terms: str):
    path = write(tmp_path, f"[reading]\ndefault_character_set = '{terms}'\n")
    assert load(path).reading.default_character_set == terms


@pytest.mark.parametrize(
    ("listener", "more", "said"),
    [
        ("enabled = false", "", "set listener.enabled = true"),
        ('ae_title = "US"', 'calling_ae_title = "THEM"', "remove calling_ae_title"),
        ('calling_ae_titles = ["CT"]', "", "add 'PACS' to listener.calling_ae_titles"),
    ],
)
def test_a_destination_whose_reports_could_not_come_in_is_refused(tmp_path, listener, more, said):
    text = f"[listener]\n{listener}\n" + DESTINATION.format(name="a", port=1) + f"commitment = true\n{more}\n"
    with pytest.raises(BadSettings, match=said):
        load(write(tmp_path, text))
    assert load(write(tmp_path, text.replace("commitment = true", ""))).destinations


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[destinations]\nname = "a"\n', "destinations: a list of tables, in double brackets: one [[destinations]]"),
        ('[destinations.a]\nport = 1\n', "one [[destinations]] for each"),
        ('destinations = "a"\n', "one [[destinations]] for each"),
        ('[destinations]\nname = "a"\n[destinations]\nname = "b"\n', "has double brackets, as [[destinations]]"),
        ('[[storage]]\nspool = "s"\n', "storage: one table, in single brackets: [storage]"),
        ('listener = 11112\n', "one table, in single brackets: [listener]"),
    ],
)  # fmt: skip
def test_wrong_brackets_are_told_with_the_right_ones(tmp_path: Path, monkeypatch, text, said):
    for url in ("", "sqlite:////tmp/l.sqlite"):
        monkeypatch.setenv(DATABASE_URL_VARIABLE, url)
        with pytest.raises(BadSettings) as caught:
            load(write(tmp_path, text))
        assert said in str(caught.value)


def test_every_mistake_is_told_at_once(tmp_path: Path):
    with pytest.raises(BadSettings) as caught:
        load(write(tmp_path, "[listener]\nport = -1\nprot = 1\n"))
    assert len(str(caught.value).splitlines()) == 2


def test_a_missing_file_and_broken_toml_are_told(tmp_path: Path):
    with pytest.raises(BadSettings, match="cannot be read"):
        load(tmp_path / "absent.toml")
    with pytest.raises(BadSettings, match="not valid TOML"):
        load(write(tmp_path, "[listener\n"))


def test_relative_paths_are_seen_from_the_settings_file(tmp_path: Path):
    settings = load(
        write(
            tmp_path, '[storage]\nspool = "s"\ndatabase_url = "sqlite:///l.sqlite"\n[watch]\nfolder = "w"\n'
        )
    )
    assert settings.storage.spool == tmp_path / "s"
    assert settings.storage.database_url == f"sqlite:///{tmp_path / 'l.sqlite'}"
    assert settings.watch.folder == tmp_path / "w"


def test_the_database_url_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(DATABASE_URL_VARIABLE, "postgresql+psycopg://u:secret@h/d")
    assert load(write(tmp_path, "")).storage.database_url == "postgresql+psycopg://u:secret@h/d"


def test_settings_do_not_change():
    with pytest.raises(ValidationError):
        Settings().listener.port = 1  # type: ignore[misc]  # that it is refused is the test


def test_what_is_shipped_is_there():
    assert shipped("config", "grading.toml").is_file()
    assert shipped("models", "spine", "manifest.toml").is_file()


def test_a_dicomweb_destination_keeps_its_secret_beside_the_settings(tmp_path: Path):
    (tmp_path / "token").write_text("abc\n")
    (found,) = load(write(tmp_path, WEB + 'secret_file = "token"\n')).destinations
    assert isinstance(found, DicomwebDestination)
    assert found.secret() == "abc"
    assert found.address == ("pacs.example.org", 443)
    assert "abc" not in repr(found)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"enabled": True}, "one of dicomweb and ae"),
        ({"enabled": True, "dicomweb": "https://a", "ae": "A@h:104"}, "one of dicomweb and ae"),
        ({"dicomweb": "ftp://a"}, "http:// or https://"),
        ({"dicomweb": "https://a:b@c"}, "no user or password here"),
        ({"ae": "A@h"}, "no DICOM peer"),
        ({"ae": "A@h:104", "credentials": "c.toml"}, "credentials are for dicomweb"),
        ({"dicomweb": "https://a", "move_to": "US"}, "move_to is for ae"),
    ],
)
def test_priors_that_cannot_be_fetched(values, message):
    with pytest.raises(ValidationError, match=message):
        PriorsSettings(**values)


def test_priors_by_c_move_need_the_listener(tmp_path):
    path = write(tmp_path, '[listener]\nenabled = false\n[priors]\nenabled = true\nae = "A@h:104"\n')
    with pytest.raises(BadSettings, match="needs the listener"):
        load(path)


def test_credentials_of_priors_are_beside_the_settings(tmp_path):
    path = write(
        tmp_path, '[priors]\nenabled = true\ndicomweb = "https://a/dicom-web/"\ncredentials = "c.toml"\n'
    )
    found = load(path).priors
    assert found.credentials == tmp_path / "c.toml"
    assert found.place == "https://a/dicom-web"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"enabled": True, "label": "X"}, "url is missing"),
        ({"enabled": True, "url": "https://a"}, "which workitems are ours"),
        (
            {"enabled": True, "url": "https://a", "label": "X", "dicomweb": "https://b", "ae": "A@h:104"},
            "one of",
        ),
        ({"workitem_codes": ["A1"]}, "value\\^scheme\\^meaning"),
        ({"station": "A1^99X^" + "x" * 65}, "value\\^scheme\\^meaning"),
    ],
)
def test_a_worklist_that_cannot_be_worked_off(values, message):
    with pytest.raises(ValidationError, match=message):
        WorklistSettings(**values)


def test_a_worklist_needs_somewhere_to_send_results(tmp_path):
    text = '[worklist]\nenabled = true\nurl = "https://a/rs"\nlabel = "X"\n'
    with pytest.raises(BadSettings, match="needs a destination"):
        load(write(tmp_path, text))
    found = load(write(tmp_path, text + 'credentials = "c.toml"\n' + WEB)).worklist
    assert found.archive == ("https://a/rs", str(tmp_path / "c.toml"))
