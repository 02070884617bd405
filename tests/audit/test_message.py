"""Messages have the shape that the schema of PS3.15 A.5.1 asks for, and say what the trail says.

The shape is written down here anew, as far as we use it; the schema itself is a text of the Standard.
"""

from __future__ import annotations

import re
from base64 import b64decode
from datetime import UTC, datetime
from io import BytesIO
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest
from pydicom import dcmread

from spinepacs.audit.message import Messages, Node

CODE = {"csd-code": r".+", "codeSystemName": r"DCM|RFC-3881", "originalText": r".+", "displayName?": r".+"}
SHAPE: dict[str, tuple[dict[str, str], str]] = {
    "AuditMessage": ({}, "EventIdentification (ActiveParticipant )+AuditSourceIdentification "
                         "(ParticipantObjectIdentification )*"),
    "EventIdentification": (
        {"EventActionCode": "[CRUDE]", "EventDateTime": r"[\d-]{10}T[\d:.]{12}\+00:00",
         "EventOutcomeIndicator": "0|4|8|12"},
        "EventID (EventTypeCode )*(EventOutcomeDescription )?"),
    "EventID": (CODE, ""), "EventTypeCode": (CODE, ""), "EventOutcomeDescription": ({}, ""),
    "ActiveParticipant": (
        {"UserID": r".+", "UserIsRequestor": "true|false", "AlternativeUserID?": "AETITLES=.+",
         "NetworkAccessPointID?": r".+", "NetworkAccessPointTypeCode?": "[1-5]"},
        "(RoleIDCode )*"),
    "RoleIDCode": (CODE, ""),
    "AuditSourceIdentification": ({"AuditSourceID": r".+"}, "(AuditSourceTypeCode )*"),
    "AuditSourceTypeCode": ({"csd-code": "4"}, ""),
    "ParticipantObjectIdentification": (
        {"ParticipantObjectID": r".*", "ParticipantObjectTypeCode": "[1-4]",
         "ParticipantObjectTypeCodeRole": r"\d+"},
        "ParticipantObjectIDTypeCode (ParticipantObjectName |ParticipantObjectQuery )(ParticipantObjectDetail )*"
        "(ParticipantObjectDescription )*"),
    "ParticipantObjectQuery": ({}, ""), "ParticipantObjectDetail": ({"type": "TransferSyntax", "value": r".+"}, ""),
    "ParticipantObjectIDTypeCode": (CODE, ""), "ParticipantObjectName": ({}, ""),
    "ParticipantObjectDescription": ({}, "(Accession )*(SOPClass )*"),
    "Accession": ({"Number": r".+"}, ""),
    "SOPClass": ({"UID?": r"[\d.]+", "NumberOfInstances": r"\d+"}, "(Instance )*"),
    "Instance": ({"UID": r".+"}, ""),
}  # fmt: skip
"""Attributes (? : may be absent) with their values, and children, of every element that we write."""

ROW: dict[str, Any] = {
    "audit_id": 1, "happened_at": datetime(2026, 11, 23, 12, 0, tzinfo=UTC), "action": "selected",
    "study_uid": "1.2.3", "sop_uid": "1.2.3.1.1", "sop_class_uid": "1.2.840.10008.5.1.4.1.1.1.1", "sha256": "ab",
    "calling_ae": "MODALITY", "called_ae": "SPINEPACS", "peer": "192.0.2.7", "destination": "", "detail": "",
    "account": "", "patient_id": "PAT-0001", "accession_number": "ACC-1",
}  # fmt: skip
PERSON = {"calling_ae": "", "sop_uid": "", "sop_class_uid": "", "account": "anna", "peer": "192.0.2.8"}
SENT = {"calling_ae": "", "peer": "", "destination": "pacs"}
ASKED = {**SENT, "destination": "ARCHIVE", "sop_uid": "", "sop_class_uid": "", "sha256": ""}
MESSAGES = Messages(Node("SPINEPACS", "reader.hospital"), "SITE-1", {"pacs": Node("ARCHIVE", "192.0.2.9")})


def message(**changes: Any) -> Element:
    xml = MESSAGES.of({**ROW, **changes})
    assert xml is not None
    return ElementTree.fromstring(xml)  # noqa: S314 - our own


def check(element: Element) -> None:
    attributes, children = SHAPE[element.tag]
    allowed = {name.rstrip("?"): values for name, values in attributes.items()}
    assert set(element.attrib) <= set(allowed), element.tag
    assert {name for name in attributes if not name.endswith("?")} <= set(element.attrib), element.tag
    for name, value in element.attrib.items():
        assert re.fullmatch(allowed[name], value), f"{element.tag} {name}={value}"
    assert re.fullmatch(children, "".join(f"{child.tag} " for child in element)), element.tag
    for child in element:
        check(child)


@pytest.mark.parametrize(
    ("changes", "event", "kind", "outcome"),
    [
        ({"action": "started", "study_uid": "", "sop_uid": "", "calling_ae": ""}, "110100", "E", "0"),
        ({"action": "stopped", "study_uid": "", "sop_uid": "", "calling_ae": ""}, "110100", "E", "0"),
        ({}, "110104", "C", "0"),
        ({"calling_ae": "", "peer": ""}, "110104", "C", "0"),
        ({"action": "refused", "detail": "NOT_SELECTED"}, "110104", "C", "0"),
        ({"action": "unreadable", "study_uid": "", "detail": "NOT_DICOM"}, "110104", "C", "4"),
        ({"action": "duplicate"}, "110104", "R", "0"),
        ({"action": "read", "sop_class_uid": ""}, "110103", "R", "0"),
        ({"action": "not-read", "detail": "NO_VERTEBRA_FOUND"}, "110103", "R", "4"),
        ({"action": "made"}, "110103", "C", "0"),
        ({"action": "file-deleted", "detail": "original"}, "110103", "D", "0"),
        ({"action": "sent", **SENT}, "110104", "R", "0"),
        ({"action": "not-sent", **SENT, "detail": "refused, status 0xA900"}, "110104", "R", "4"),
        ({"action": "sent", **SENT, "destination": "gone"}, "110104", "R", "0"),
        ({"action": "login", **PERSON, "study_uid": ""}, "110114", "E", "0"),
        ({"action": "login-failed", **PERSON, "study_uid": ""}, "110114", "E", "4"),
        ({"action": "logout", **PERSON, "study_uid": "", "peer": ""}, "110114", "E", "0"),
        ({"action": "viewed", **PERSON}, "110103", "R", "0"),
        ({"action": "queried", **ASKED}, "110112", "E", "0"),
        ({"action": "queried", **ASKED, "patient_id": "x" * 99 + "\ud800"}, "110112", "E", "0"),
        ({"patient_id": "a\x01<b>&\"'\ud800", "accession_number": ""}, "110104", "C", "0"),
    ],
)
def test_every_action_has_a_message_of_the_right_shape(changes, event, kind, outcome):
    root = message(**changes)
    check(root)
    about = root[0]
    assert (about[0].get("csd-code"), about.get("EventActionCode"), about.get("EventOutcomeIndicator")) == (
        event, kind, outcome,
    )  # fmt: skip


def test_a_person_asks_and_we_answer():
    person, ours = message(action="viewed", **PERSON).findall("ActiveParticipant")
    assert (person.get("UserID"), person.get("NetworkAccessPointID")) == ("anna", "192.0.2.8")
    assert (person.get("UserIsRequestor"), ours.get("UserIsRequestor")) == ("true", "false")
    login = message(action="login", **PERSON)
    assert login.find("EventIdentification/EventTypeCode").get("csd-code") == "110122"  # Login
    assert (
        message(action="logout", **PERSON).find("EventIdentification/EventTypeCode").get("csd-code")
        == "110123"
    )


def test_who_what_and_whom():
    root = message(action="sent", **SENT)
    ours, theirs = root.findall("ActiveParticipant")
    assert (ours.get("AlternativeUserID"), ours[0].get("csd-code")) == ("AETITLES=SPINEPACS", "110153")
    assert ours.get("NetworkAccessPointTypeCode") == "1"
    assert (theirs.get("AlternativeUserID"), theirs[0].get("csd-code")) == ("AETITLES=ARCHIVE", "110152")
    assert (theirs.get("NetworkAccessPointID"), theirs.get("NetworkAccessPointTypeCode")) == (
        "192.0.2.9",
        "2",
    )
    study, patient = root.findall("ParticipantObjectIdentification")
    assert (study.get("ParticipantObjectID"), study[0].get("csd-code")) == ("1.2.3", "110180")
    (instance,) = study.iter("Instance")
    assert instance.get("UID") == "1.2.3.1.1"
    assert (patient.get("ParticipantObjectID"), patient[0].get("csd-code")) == ("PAT-0001", "2")


def test_who_sent_it_to_us():
    sender, ours = message().findall("ActiveParticipant")
    assert (sender.get("UserID"), sender.get("NetworkAccessPointID")) == ("MODALITY", "192.0.2.7")
    assert (sender.get("UserIsRequestor"), ours.get("UserIsRequestor")) == ("true", "false")
    assert message(calling_ae="", peer="").find("ActiveParticipant").get("UserID") == "watched folder"  # type: ignore[union-attr]


def test_whom_an_archive_was_asked_for():
    root = message(action="queried", **ASKED)
    ours, theirs = root.findall("ActiveParticipant")
    assert (ours.get("UserID"), ours.get("UserIsRequestor")) == ("SPINEPACS", "true")
    assert (theirs.get("UserID"), theirs[0].get("csd-code")) == ("ARCHIVE", "110152")
    query, patient = root.findall("ParticipantObjectIdentification")
    assert query[0].get("csd-code") == "110181"
    keys = dcmread(BytesIO(b64decode(query.findtext("ParticipantObjectQuery") or "")), force=True)
    assert (keys.QueryRetrieveLevel, keys.PatientID) == ("STUDY", "PAT-0001")
    assert patient.get("ParticipantObjectID") == "PAT-0001"


@pytest.mark.parametrize("action", ["received", "committed", "conflict", "retried", "orphaned"])
def test_steps_of_our_own_have_none(action):
    assert MESSAGES.of({**ROW, "action": action}) is None
