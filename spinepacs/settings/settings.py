"""The settings: one TOML file, validated once, frozen, passed, never ambient.

``config/spinepacs.toml`` is the commented file that users start from; :func:`load` reads one and names the line and the
remedy where it cannot.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from spinepacs.errors import BadSettings
from spinepacs.settings.archives import ArchiveSettings
from spinepacs.settings.destinations import AnyDestination, DicomDestination
from spinepacs.settings.dicomweb import DicomwebSettings
from spinepacs.settings.mistakes import explain
from spinepacs.settings.notifications import AnyNotification
from spinepacs.settings.partners import Partner
from spinepacs.settings.priors import PriorsSettings
from spinepacs.settings.sections import (
    AssemblySettings,
    AuditSettings,
    ClusterSettings,
    HealthSettings,
    ListenerSettings,
    LogSettings,
    ModelSettings,
    OutputSettings,
    ReadingSettings,
    RetentionSettings,
    SelectionSettings,
    StorageSettings,
    WatchSettings,
    WorkSettings,
)
from spinepacs.settings.types import Section
from spinepacs.settings.web import WebSettings
from spinepacs.settings.worklist import WorklistSettings
from spinepacs.toml import read_toml

DATABASE_URL_VARIABLE = "SPINEPACS_DATABASE_URL"
"""Environment variable that overrides ``storage.database_url``: the URL may hold a password."""


class Settings(Section):
    """All settings of one installation."""

    storage: StorageSettings = StorageSettings()
    cluster: ClusterSettings = ClusterSettings()
    listener: ListenerSettings = ListenerSettings()
    watch: WatchSettings = WatchSettings()
    assembly: AssemblySettings = AssemblySettings()
    selection: SelectionSettings = SelectionSettings()
    reading: ReadingSettings = ReadingSettings()
    model: ModelSettings = Field(default_factory=ModelSettings)
    work: WorkSettings = WorkSettings()
    retention: RetentionSettings = RetentionSettings()
    output: OutputSettings = OutputSettings()
    destinations: tuple[AnyDestination, ...] = ()
    archives: tuple[ArchiveSettings, ...] = ()
    notifications: tuple[AnyNotification, ...] = ()
    health: HealthSettings = HealthSettings()
    log: LogSettings = LogSettings()
    audit: AuditSettings = AuditSettings()
    web: WebSettings = WebSettings()
    dicomweb: DicomwebSettings = DicomwebSettings()
    priors: PriorsSettings = PriorsSettings()
    worklist: WorklistSettings = WorklistSettings()

    @field_validator("destinations", "notifications")
    @classmethod
    def _names_differ(cls, value: tuple[Partner, ...], info: ValidationInfo) -> tuple[Partner, ...]:
        names = [partner.name for partner in value]
        if len(set(names)) != len(names):
            raise ValueError(f"every {str(info.field_name).removesuffix('s')} needs a name of its own")
        return value

    @field_validator("archives")
    @classmethod
    def _ports_differ(cls, value: tuple[ArchiveSettings, ...]) -> tuple[ArchiveSettings, ...]:
        if len({(archive.host.lower(), archive.port) for archive in value}) != len(value):
            raise ValueError("every port of an archive has one table")
        return value

    def archive(self, host: str, port: int) -> ArchiveSettings:
        """Give what is set for a port of an archive; what no table names is spoken with in the clear."""
        for archive in self.archives:
            if (archive.host.lower(), archive.port) == (host.lower(), port):
                return archive
        return ArchiveSettings(host=host, port=port, tls=False)

    @model_validator(mode="after")
    def _reports_can_come(self) -> Settings:
        for destination in self.destinations:
            if (
                isinstance(destination, DicomDestination)
                and destination.commitment
                and (why := self._why_no_report(destination))
            ):
                raise ValueError(f"destination {destination.name!r} has commitment = true, but {why}")
        return self

    def _why_no_report(self, destination: DicomDestination) -> str:
        """Why a destination could not tell the listener what it keeps; empty: it can."""
        listener, called = self.listener, destination.calling_ae_title
        if not listener.enabled:
            return "it reports to the listener, which is off: set listener.enabled = true"
        if listener.check_called_ae and called not in (None, listener.ae_title):
            return (
                f"it reports to {called!r}, which the listener is not called: remove calling_ae_title, or set "
                "listener.check_called_ae = false"
            )
        if listener.calling_ae_titles and destination.ae_title not in listener.calling_ae_titles:
            return f"the listener turns it away: add {destination.ae_title!r} to listener.calling_ae_titles"
        return ""

    @model_validator(mode="after")
    def _what_is_sent_is_made(self) -> Settings:
        for destination in self.destinations:
            if "GSPS" in destination.send and not self.output.presentation_state_enabled:
                raise ValueError(
                    f"destination {destination.name!r} is sent GSPS, which none is made of: set "
                    "output.presentation_state_enabled = true"
                )
        return self

    @model_validator(mode="after")
    def _films_can_come(self) -> Settings:
        for name, section in (("priors", self.priors), ("worklist", self.worklist)):
            if section.enabled and section.ae and not self.listener.enabled:
                raise ValueError(
                    f"{name}.ae needs the listener, to which films come: set listener.enabled = true"
                )
        if self.worklist.enabled and not any(
            each.kind in ("dicom", "dicomweb") for each in self.destinations
        ):
            raise ValueError(
                "worklist.enabled needs a destination of kind dicom or dicomweb: who has asked for results is told "
                "where they are"
            )
        return self

    @model_validator(mode="after")
    def _machines_share(self) -> Settings:
        if self.cluster.enabled and self.storage.database_url.startswith("sqlite"):
            raise ValueError(
                "cluster.enabled needs PostgreSQL: an SQLite file is for one machine (storage.database_url)"
            )
        return self

    @model_validator(mode="after")
    def _not_to_ourselves(self) -> Settings:
        for destination in self.destinations:
            if self.listener.enabled and destination.address == (self.listener.bind, self.listener.port):
                raise ValueError(f"destination {destination.name!r} is this daemon's own listener")
        return self


def load(path: Path) -> Settings:
    """Read and validate a settings file.

    Relative paths in it are taken from the file's own folder.

    Raises
    ------
    BadSettings
        If the file cannot be read or anything in it is wrong; the message gives the line and the remedy.
    """
    data = read_toml(path, BadSettings, "give an existing file with --config")
    storage = data.setdefault("storage", {})
    if (url := os.environ.get(DATABASE_URL_VARIABLE)) and isinstance(
        storage, dict
    ):  # what else it is, is told below
        storage["database_url"] = url
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        raise BadSettings(explain(path, error)) from error
    return _resolve(settings, path.resolve().parent)


def _resolve(settings: Settings, folder: Path) -> Settings:
    """Make relative paths absolute, seen from the settings file."""
    storage = settings.storage
    places = {"scratch": folder / storage.scratch}
    if not storage.bucket:
        places["spool"] = folder / storage.spool
    storage = storage.model_copy(update=places)
    url = storage.database_url
    if url.startswith("sqlite:///") and not url.startswith("sqlite:////") and ":memory:" not in url:
        storage = storage.model_copy(
            update={"database_url": f"sqlite:///{folder / url.removeprefix('sqlite:///')}"}
        )
    watch = settings.watch
    if watch.folder is not None:
        watch = watch.model_copy(update={"folder": folder / watch.folder})
    model = settings.model.model_copy(
        update={"folder": folder / settings.model.folder, "policy": folder / settings.model.policy}
    )
    web = settings.web
    if web.oidc is not None:
        web = web.model_copy(update={"oidc": _absolute(web.oidc, folder)})
    return settings.model_copy(
        update={
            "storage": storage,
            "watch": watch,
            "model": model,
            "priors": _absolute(settings.priors, folder),
            "worklist": _absolute(settings.worklist, folder),
            "listener": _absolute(settings.listener, folder),
            "audit": _absolute(settings.audit, folder),
            "dicomweb": _absolute(settings.dicomweb, folder),
            "archives": tuple(_absolute(each, folder) for each in settings.archives),
            "web": web,
            "destinations": tuple(_absolute(each, folder) for each in settings.destinations),
            "notifications": tuple(_absolute(each, folder) for each in settings.notifications),
        }
    )


_FILES = ("tls_certificate", "tls_key", "tls_ca", "secret_file", "credentials", "archive_credentials")
_AnySection = TypeVar("_AnySection", bound=Section)


def _absolute(section: _AnySection, folder: Path) -> _AnySection:
    """Make the paths of certificates, secrets and credentials absolute, as far as the section has such."""
    paths = {key: path for key in _FILES if (path := getattr(section, key, None)) is not None}
    return section.model_copy(update={key: folder / path for key, path in paths.items()})
