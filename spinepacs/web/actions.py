"""What a person may decide in the queue: each says first what will happen, and does it when that is confirmed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from spinepacs.domain.study import StudyState
from spinepacs.language import N_, _, n_
from spinepacs.store import story
from spinepacs.store.records import OutboxState
from spinepacs.web.site import Visit
from spinepacs.web.wording import STATES, known


@dataclass(frozen=True)
class Target:
    """What is decided about: a study (its UID), a file or film (its SOP Instance UID), or a destination and another."""

    study: str = ""
    file: str = ""
    destination: str = ""
    to: str = ""

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Target:
        """Take it from a form or an address."""
        return cls(**{name: given.get(name, "") for name in cls.__dataclass_fields__})

    @property
    def name(self) -> str:
        """For the audit trail."""
        return " ".join(filter(None, (self.study, self.file, self.destination, self.to)))


@dataclass(frozen=True)
class Action:
    """One decision.

    Parameters
    ----------
    title
        On the button.
    foretell
        What will happen, in sentences; raises HTTPException where it cannot.
    perform
        Does it, and says what was done.
    """

    title: str
    foretell: Callable[[Visit, Target], list[str]]
    perform: Callable[[Visit, Target], str]
    is_final: bool = False
    """Whether it cannot be taken back."""


def ask(visit: Visit) -> Response:
    """Say what will happen, and let it be confirmed."""
    query = visit.request.query_params
    name, action = _action(query.get("action", ""))
    target = Target.of(query)
    others = [each.name for each in visit.site.settings.destinations if each.name != target.destination]
    return visit.page(
        "confirm.html", name=name, action=action, target=target, said=action.foretell(visit, target),
        others=others if name == "redirect" else [],
    )  # fmt: skip


def do(visit: Visit) -> Response:
    """Do what was confirmed."""
    name, action = _action(visit.form.get("action", ""))
    target = Target.of(visit.form)
    action.foretell(visit, target)  # what was possible when it was asked may not be any more
    if name == "redirect" and target.to not in [each.name for each in visit.site.settings.destinations]:
        raise HTTPException(400, _("choose a destination of the settings"))
    visit.note(
        "command",
        target.study or story.study_of(visit.site.ledger, target.file) or "",
        f"{name} {target.name}",
    )
    done = action.perform(visit, target)
    visit.site.queue.forget()
    return visit.page("done.html", title=action.title, said=done, target=target)


def _action(name: str) -> tuple[str, Action]:
    if name not in ACTIONS:
        raise HTTPException(404, _("there is no such action"))
    return name, ACTIONS[name]


def _study(visit: Visit, target: Target) -> dict[str, Any]:
    """The state and the numbers of a study."""
    row = story.summary(visit.site.ledger, target.study)
    if row is None:
        raise HTTPException(404, _("there is no such study"))
    return row


def _waiting(visit: Visit, target: Target) -> dict[str, int]:
    """How many results wait for a destination, by state."""
    counts = visit.site.ledger.open_counts().towards
    waiting = {state: number for (name, state), number in counts.items() if name == target.destination}
    if not waiting:
        raise HTTPException(404, _("nothing waits for such a destination"))
    return waiting


def _unsent(visit: Visit, target: Target) -> int:
    """How many results wait for a destination, or failed there."""
    waiting = _waiting(visit, target)
    return waiting.get(OutboxState.PENDING, 0) + waiting.get(OutboxState.FAILED, 0)


def _foretell_retry(visit: Visit, target: Target) -> list[str]:
    if target.destination:
        waiting = _waiting(visit, target)
        failed, pending = waiting.get(OutboxState.FAILED, 0), waiting.get(OutboxState.PENDING, 0)
        return [_(
            "{failed} results that were given up are sent again to {destination}, attempts from zero, and {pending} "
            "that wait for their next attempt are sent now.",
            failed=failed, pending=pending, destination=target.destination,
        )]  # fmt: skip
    row, said = _study(visit, target), []
    if row["state"] == StudyState.FAILED.value:
        said.append(n_(
            "Its {count} film is read again, attempts from zero.",
            "Its {count} films are read again, attempts from zero.",
            row["images_selected"],
        ))  # fmt: skip
    if row["objects_failed"] or row["objects_pending"]:
        said.append(_(
            "{failed} results that were given up, and {pending} that wait, are sent now.",
            failed=row["objects_failed"], pending=row["objects_pending"],
        ))  # fmt: skip
    return said or [_("Nothing of it has failed or waits: nothing will change.")]


def _retry(visit: Visit, target: Target) -> str:
    ledger = visit.site.ledger
    study, destination = target.study or None, target.destination or None
    if not study and not destination:
        raise HTTPException(400, _("name a study or a destination"))
    count = ledger.retry(study, destination) + ledger.hurry(study, destination)
    return _("{count} back in the queue.", count=count)


def _foretell_assemble(visit: Visit, target: Target) -> list[str]:
    row = _study(visit, target)
    if row["state"] != StudyState.ARRIVING.value:
        state = known(STATES, row["state"])
        raise HTTPException(409, _("it is not arriving any more, but {state}", state=state))
    return [n_(
        "It is taken as complete with the {count} film that is here now, and read as soon as a worker is free. Images "
        "that come later are read then.",
        "It is taken as complete with the {count} films that are here now, and read as soon as a worker is free. "
        "Images that come later are read then.",
        row["images_selected"],
    )]  # fmt: skip


def _assemble(visit: Visit, target: Target) -> str:
    visit.site.ledger.mark_ready(target.study)
    return _("It is taken as complete.")


def _foretell_discard(visit: Visit, target: Target) -> list[str]:
    if target.study:
        row = _study(visit, target)
        if row["state"] not in (StudyState.FAILED.value, StudyState.REFUSED.value):
            state = known(STATES, row["state"])
            raise HTTPException(
                409, _("only what failed or was refused can be given up; it is {state}", state=state)
            )
        what = n_(
            "The {count} file of this study will be deleted from the spool.",
            "The {count} files of this study will be deleted from the spool.",
            row["images"],
        )
    else:
        what = _("The file of this image, if it is unreadable or in conflict with one that came before, will be "
                 "deleted from the spool.")  # fmt: skip
    return [
        what,
        _("The rows in the database stay, and say who decided it."),
        _("To have it read after all it must be sent again."),
    ]


def _discard(visit: Visit, target: Target) -> str:
    count = visit.site.ledger.files.discard(target.study or target.file)
    return n_("{count} file given up.", "{count} files given up.", count)


def _foretell_seen(visit: Visit, target: Target) -> list[str]:
    return [_("It is not shown in the queue any more, unless more of it comes. Nothing is deleted.")]


def _seen(visit: Visit, target: Target) -> str:
    study = target.study or story.study_of(visit.site.ledger, target.file)
    if not study:
        raise HTTPException(404, _("there is no such study"))
    return n_("{count} study seen to.", "{count} studies seen to.", visit.site.ledger.see(study))


def _foretell_redirect(visit: Visit, target: Target) -> list[str]:
    number = _unsent(visit, target)
    return [n_(
        "{count} result that waits for {destination}, or failed there, goes to another destination instead. What that "
        "one has been given before is not sent to it twice.",
        "{count} results that wait for {destination}, or failed there, go to another destination instead. What that "
        "one has been given before is not sent to it twice.",
        number, destination=target.destination,
    )]  # fmt: skip


def _redirect(visit: Visit, target: Target) -> str:
    count = visit.site.ledger.redirect(target.destination, target.to)
    return n_(
        "{count} result goes to {to} instead.", "{count} results go to {to} instead.", count, to=target.to
    )


def _foretell_withdraw(visit: Visit, target: Target) -> list[str]:
    number = _unsent(visit, target)
    return [n_(
        "{count} result will not be sent to {destination} any more. It stays in the database and the spool.",
        "{count} results will not be sent to {destination} any more. They stay in the database and the spool.",
        number, destination=target.destination,
    )]  # fmt: skip


def _withdraw(visit: Visit, target: Target) -> str:
    count = visit.site.ledger.withdraw(target.destination)
    return n_("{count} result is not sent any more.", "{count} results are not sent any more.", count)


ACTIONS: Mapping[str, Action] = {
    "retry": Action(N_("Try again"), _foretell_retry, _retry),
    "assemble": Action(N_("Read it now"), _foretell_assemble, _assemble),
    "discard": Action(N_("Give it up"), _foretell_discard, _discard, is_final=True),
    "seen": Action(N_("Seen to"), _foretell_seen, _seen),
    "redirect": Action(N_("Send elsewhere"), _foretell_redirect, _redirect),
    "withdraw": Action(N_("Do not send"), _foretell_withdraw, _withdraw, is_final=True),
}
"""By name."""
