"""Rows of the audit trail as DICOM audit messages (PS3.15 A.5, which IHE ATNA uses).

============================= ================================ ====== =======================================
action                        event                            code   participants
============================= ================================ ====== =======================================
started, stopped              Application Activity             110100 we
selected, refused, unreadable DICOM Instances Transferred, C   110104 sender → we; study, patient
not-taken                     DICOM Instances Transferred, C   110104 watched folder → we
duplicate                     DICOM Instances Transferred, R   110104 sender → we; study, patient
read, not-read                DICOM Instances Accessed, R      110103 we; study, patient
made, file-deleted            DICOM Instances Accessed, C or D 110103 we; study, patient
sent, not-sent                DICOM Instances Transferred, R   110104 we → destination; study, patient
login, login-failed, logout   User Authentication              110114 account → we
viewed                        DICOM Instances Accessed, R      110103 account → we; study, patient
queried                       Query, E                         110112 we → archive; query, patient
============================= ================================ ====== =======================================

Other rows have no message: ``received`` is followed by one of the second line as soon as the study is known, and the
rest are steps of our own. A patient is named by the ID alone, which is all that the database holds.
"""

from __future__ import annotations

import ipaddress
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element, SubElement, tostring

_STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Node(NamedTuple):
    """Someone who takes part: AE title (empty: none) and address (empty: unknown)."""

    ae_title: str
    address: str


class _Code(NamedTuple):
    """A coded term; DCM is PS3.16 Annex D."""

    value: str
    meaning: str
    scheme: str = "DCM"


_ACTIVITY = _Code("110100", "Application Activity")
_ACCESSED = _Code("110103", "DICOM Instances Accessed")
_TRANSFERRED = _Code("110104", "DICOM Instances Transferred")
_START, _STOP = _Code("110120", "Application Start"), _Code("110121", "Application Stop")
_QUERY = _Code("110112", "Query")
_AUTHENTICATION = _Code("110114", "User Authentication")
_LOGIN, _LOGOUT = _Code("110122", "Login"), _Code("110123", "Logout")
_APPLICATION = _Code("110150", "Application")
_DESTINATION, _SOURCE = _Code("110152", "Destination Role ID"), _Code("110153", "Source Role ID")
_SOP_CLASS_UID = _Code("110181", "SOP Class UID")
_STUDY_UID = _Code("110180", "Study Instance UID")
_PATIENT_NUMBER = _Code("2", "Patient Number", "RFC-3881")

_EVENTS = {
    "started": (_ACTIVITY, "E"),
    "stopped": (_ACTIVITY, "E"),
    "selected": (_TRANSFERRED, "C"),
    "refused": (_TRANSFERRED, "C"),
    "unreadable": (_TRANSFERRED, "C"),
    "not-taken": (_TRANSFERRED, "C"),
    "duplicate": (_TRANSFERRED, "R"),
    "read": (_ACCESSED, "R"),
    "not-read": (_ACCESSED, "R"),
    "made": (_ACCESSED, "C"),
    "file-deleted": (_ACCESSED, "D"),
    "sent": (_TRANSFERRED, "R"),
    "not-sent": (_TRANSFERRED, "R"),
    "login": (_AUTHENTICATION, "E"),
    "login-failed": (_AUTHENTICATION, "E"),
    "logout": (_AUTHENTICATION, "E"),
    "viewed": (_ACCESSED, "R"),
    "queried": (_QUERY, "E"),
}
_TYPES = {
    "started": _START, "stopped": _STOP, "login": _LOGIN, "login-failed": _LOGIN, "logout": _LOGOUT,
}  # fmt: skip
_MINOR_FAILURES = frozenset({"login-failed", "unreadable", "not-taken", "not-read", "not-sent"})


class Messages:
    """Makes messages of rows.

    Parameters
    ----------
    ours
        Our AE title and the address that we are known by.
    source_id
        AuditSourceID: which installation this is.
    destinations
        AE title and address of each destination, by its name in the settings.
    """

    def __init__(self, ours: Node, source_id: str, destinations: Mapping[str, Node]) -> None:
        self._ours = ours
        self._source_id = source_id
        self._destinations = destinations

    def of(self, row: Mapping[str, Any]) -> bytes | None:
        """Write one row of :func:`spinepacs.audit.trail.pages` as XML in UTF-8; None where there is no message."""
        action = str(row["action"])
        if action not in _EVENTS:
            return None
        message = Element("AuditMessage")
        _add_event(message, action, row)
        if row["account"]:
            _add_person(message, row["account"], row["peer"])
        for node, role, requests in self._participants(action, row):
            _add_participant(message, node, role, requests)
        source = SubElement(message, "AuditSourceIdentification", AuditSourceID=_clean(self._source_id))
        SubElement(source, "AuditSourceTypeCode", {"csd-code": "4"})  # application server process
        if action == "queried":
            _add_query(message, row)
        elif row["study_uid"]:
            _add_study(message, row)
        if row["study_uid"]:
            _add_patient(message, row)
        return bytes(tostring(message, encoding="utf-8", xml_declaration=True))

    def _participants(self, action: str, row: Mapping[str, Any]) -> Iterable[tuple[Node, _Code, bool]]:
        """Who takes part, as what, and whether it asked for it; the source first."""
        if _EVENTS[action][0] not in (_TRANSFERRED, _QUERY):
            yield self._ours, _APPLICATION, not row["account"]
        elif row["destination"]:
            name = str(row["destination"])
            yield self._ours, _SOURCE, True
            yield self._destinations.get(name, Node(name, "")), _DESTINATION, False
        else:
            yield Node(row["calling_ae"], row["peer"]), _SOURCE, True
            yield self._ours, _DESTINATION, False


def _add_event(message: Element, action: str, row: Mapping[str, Any]) -> None:
    code, kind = _EVENTS[action]
    event = SubElement(
        message,
        "EventIdentification",
        EventActionCode=kind,
        EventDateTime=row["happened_at"].isoformat(timespec="milliseconds"),
        EventOutcomeIndicator="4" if action in _MINOR_FAILURES else "0",
    )
    _add_code(event, "EventID", code)
    if action in _TYPES:
        _add_code(event, "EventTypeCode", _TYPES[action])
    if action in _MINOR_FAILURES and row["detail"]:
        SubElement(event, "EventOutcomeDescription").text = _clean(row["detail"])


def _add_person(message: Element, account: str, address: str) -> None:
    """A person who asked for it, at the address of the browser."""
    attributes = {"UserID": _clean(account), "UserIsRequestor": "true"}
    if address:
        attributes["NetworkAccessPointID"] = _clean(address)
        attributes["NetworkAccessPointTypeCode"] = "2" if _is_ip(address) else "1"
    SubElement(message, "ActiveParticipant", attributes)


def _add_participant(message: Element, node: Node, role: _Code, requests: bool) -> None:
    attributes = {
        "UserID": _clean(node.ae_title or node.address or "watched folder"),
        "UserIsRequestor": "true" if requests else "false",
    }
    if node.ae_title:
        attributes["AlternativeUserID"] = f"AETITLES={_clean(node.ae_title)}"
    if node.address:
        attributes["NetworkAccessPointID"] = _clean(node.address)
        attributes["NetworkAccessPointTypeCode"] = "2" if _is_ip(node.address) else "1"
    _add_code(SubElement(message, "ActiveParticipant", attributes), "RoleIDCode", role)


def _add_study(message: Element, row: Mapping[str, Any]) -> None:
    study = _add_object(message, row["study_uid"], ("2", "3"), _STUDY_UID)
    about = SubElement(study, "ParticipantObjectDescription")
    if row["accession_number"]:
        SubElement(about, "Accession", Number=_clean(row["accession_number"]))
    if row["sop_uid"]:
        described = {"UID": _clean(row["sop_class_uid"])} if row["sop_class_uid"] else {}
        sop_class = SubElement(about, "SOPClass", described, NumberOfInstances="1")
        SubElement(sop_class, "Instance", UID=_clean(row["sop_uid"]))


def _add_query(message: Element, row: Mapping[str, Any]) -> None:
    """What was asked for, by either way: studies of the patient, in the words of C-FIND (PS3.15 A.5.3.10)."""
    # Who only looks at the trail needs none of it.
    from pydicom import Dataset
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset
    from pydicom.uid import ImplicitVRLittleEndian

    from spinepacs.dicom.reading.parse import quiet

    query = _add_object(message, _STUDY_ROOT_FIND, ("2", "3"), _SOP_CLASS_UID, is_named=False)
    buffer = DicomBytesIO()
    buffer.is_little_endian = buffer.is_implicit_VR = True
    with quiet():  # IDs are as hospitals make them
        keys = Dataset()
        keys.SpecificCharacterSet = "ISO_IR 192"
        keys.QueryRetrieveLevel = "STUDY"
        keys.PatientID = _clean(row["patient_id"])
        write_dataset(buffer, keys)
    SubElement(query, "ParticipantObjectQuery").text = b64encode(buffer.getvalue()).decode()
    syntax = b64encode(ImplicitVRLittleEndian.encode()).decode()
    SubElement(query, "ParticipantObjectDetail", type="TransferSyntax", value=syntax)


def _add_patient(message: Element, row: Mapping[str, Any]) -> None:
    _add_object(message, row["patient_id"], ("1", "1"), _PATIENT_NUMBER)


def _add_object(
    message: Element,
    identifier: str,
    kind_and_role: tuple[str, str],
    code: _Code,
    *,
    is_named: bool = True,
) -> Element:
    kind, role = kind_and_role
    added = SubElement(
        message,
        "ParticipantObjectIdentification",
        ParticipantObjectID=_clean(identifier),
        ParticipantObjectTypeCode=kind,
        ParticipantObjectTypeCodeRole=role,
    )
    _add_code(added, "ParticipantObjectIDTypeCode", code)
    if is_named:
        SubElement(added, "ParticipantObjectName")  # asked for by the schema; we keep no names
    return added


def _add_code(parent: Element, name: str, code: _Code) -> None:
    attributes = {"csd-code": code.value, "codeSystemName": code.scheme, "originalText": code.meaning}
    SubElement(parent, name, attributes, displayName=code.meaning)


def _clean(text: str) -> str:
    """Without what XML 1.0 cannot hold."""
    return _NOT_XML.sub("?", str(text))


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True
