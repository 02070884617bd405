"""Everything that is checked, in the order in which a person mends it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from spinepacs.analysis.judging.policy import Policy
from spinepacs.analysis.seeing.segment import Segmenter
from spinepacs.check import archives, partners, places
from spinepacs.check.result import CheckResult
from spinepacs.cluster.roles import Role
from spinepacs.errors import SpinepacsError
from spinepacs.settings.settings import Settings


def run_checks(settings: Settings, role: Role = Role.ALL, sends: bool = False) -> Iterator[CheckResult]:
    """Check user, model, policy, spool, disk, database, ports and every destination, one result each.

    Of a machine that does a part of the work only what that part needs. ``sends``: each notification sends a test.

    No check raises: what goes wrong is its result. Rights are those of this process's user: see
    :func:`spinepacs.check.places.become`.
    """
    is_running = places.is_running(settings.storage.folder) or partners.is_living(settings)
    yield places.user(settings.storage.folder)
    if role.reads:
        yield _model(settings)
        yield _policy(settings.model.policy)
    yield places.spool(settings.storage)
    if settings.watch.folder is not None and role.receives:
        yield places.watched(settings.watch.folder, settings.watch.create)
    yield partners.database(settings.storage.database_url, is_running)
    if settings.storage.bucket:
        yield partners.bucket(settings.storage)
    if settings.listener.enabled and role.receives:
        yield partners.listener(settings.listener)
        yield places.port("listener port", settings.listener.bind, settings.listener.port, is_running)
    if role.reads:
        yield from archives.campaigns(settings)
        yield from archives.priors(settings)
        yield from archives.worklist(settings)
    if settings.health.enabled:
        yield places.port("health port", settings.health.bind, settings.health.port, is_running)
    if role.receives:
        yield from _web(settings, is_running)
    if not role.sends:
        return
    if settings.audit.syslog:
        yield partners.syslog(settings.audit)
    yield from partners.notifications(settings, sends)
    if not settings.destinations:
        yield CheckResult("destinations", True, "none: results stay in the database and the spool")
    yield from partners.strays(settings)
    for destination in settings.destinations:
        try:
            yield partners.destination(destination, settings)
        except SpinepacsError as error:
            yield CheckResult(f"destination {destination.name}", False, str(error))


def _web(settings: Settings, is_running: bool) -> Iterator[CheckResult]:
    """Console and DICOMweb, where they are on."""
    if settings.web.enabled:
        yield partners.console(settings)
        if settings.web.oidc:
            yield partners.single_sign_on(settings.web.oidc)
        yield places.port("console port", settings.web.bind, settings.web.port, is_running)
    if settings.dicomweb.enabled:
        yield partners.dicomweb(settings)
        yield places.port("DICOMweb port", settings.dicomweb.bind, settings.dicomweb.port, is_running)


def _model(settings: Settings) -> CheckResult:
    try:
        segmenter = Segmenter.open(settings.model.folder, 1, settings.model.precision)
    except SpinepacsError as error:
        return CheckResult("model", False, str(error))
    return CheckResult(
        "model", True, f"{segmenter.model_name} {segmenter.model_version}, sha256 as in its manifest"
    )


def _policy(path: Path) -> CheckResult:
    try:
        policy = Policy.load(path)
    except SpinepacsError as error:
        return CheckResult("policy", False, str(error))
    return CheckResult("policy", True, f"{policy.name} {policy.version}")
