"""What was worked out for an association request stands for the next one that asks for the same."""

from __future__ import annotations

import copy

import pytest
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)
from pynetdicom import AllStoragePresentationContexts, build_context, dul, fsm
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_items import PresentationContextItemAC, PresentationContextItemRQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    SCP_SCU_RoleSelectionNegotiation,
    UserIdentityNegotiation,
)
from pynetdicom.presentation import PresentationContext, negotiate_as_acceptor
from pynetdicom.sop_class import Verification

from spinepacs.dicom.reading.classes import RADIOGRAPH_CLASSES
from spinepacs.intake import acceptor, contexts, negotiation
from tests import films, peers
from tests.intake.doors import associate, listening

pytestmark = peers.UNCLOSED_SOCKETS

STORAGE = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
FILM = sorted(RADIOGRAPH_CLASSES)[0]
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
REMEMBERED = (
    negotiation._items,
    negotiation._settled,
    negotiation._encoded,
    contexts._remembered,
    contexts._services_remembered,
)
ASKED = {
    "echo": [(Verification, SYNTAXES)],
    "all storage classes": [(uid, SYNTAXES) for uid in STORAGE[:128]],
    "twice the same class": [(FILM, [ExplicitVRBigEndian]), (FILM, [JPEG2000Lossless]), (FILM, SYNTAXES)],
    "some refused": [("1.2.840.10008.5.1.4.1.2.2.1", SYNTAXES), (FILM, ["1.2.3.4.5"]), (FILM, SYNTAXES)],
    "all refused": [("1.2.840.10008.5.1.4.1.2.2.1", SYNTAXES)],
    "private": [("1.3.6.1.4.1.99999.1", ["1.3.6.1.4.1.99999.2"])],
}


@pytest.fixture(autouse=True)
def nothing_is_remembered():
    for remembered in REMEMBERED:
        remembered.cache_clear()


def request(asked, *, calling: str = "CALLING", roles=()) -> bytes:
    """An A-ASSOCIATE-RQ (PS3.8 9.3.2)."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = calling, "SPINEPACS"
    items = []
    for number, (uid, syntaxes) in enumerate(asked):
        item = build_context(uid, list(syntaxes))
        item.context_id = 2 * number + 1
        items.append(item)
    primitive.presentation_context_definition_list = items
    primitive.maximum_length_received = 16384
    implementation = ImplementationClassUIDNotification()
    implementation.implementation_class_uid = "1.2.3"
    primitive.user_information += [implementation, *roles]
    return A_ASSOCIATE_RQ(primitive).encode()


def answered(decode, negotiate, encode, sent: bytes) -> tuple[A_ASSOCIATE, list, list, bytes]:
    """What becomes of a request: decoded, settled (contexts, roles), and the answer as it goes over the wire."""
    pdu = decode()
    pdu.decode(sent)
    primitive = pdu.to_primitive()
    asked = primitive.presentation_context_definition_list
    roles = {
        item.sop_class_uid: (item.scu_role, item.scp_role)
        for item in primitive.user_information
        if isinstance(item, SCP_SCU_RoleSelectionNegotiation)
    }
    assert contexts.services(asked) == contexts._services(asked)
    settled, roles_settled = negotiate(asked, contexts.supported(asked, "all", True), roles)
    answer = A_ASSOCIATE()
    answer.application_context_name = primitive.application_context_name
    answer.calling_ae_title, answer.called_ae_title = primitive.calling_ae_title, primitive.called_ae_title
    answer.result, answer.result_source = 0, 1
    answer.presentation_context_definition_results_list = settled
    answer.user_information = [*primitive.user_information[:2], *roles_settled]
    return primitive, settled, roles_settled, encode(answer).encode()


def as_pynetdicom(sent: bytes):
    return answered(A_ASSOCIATE_RQ, negotiate_as_acceptor, A_ASSOCIATE_AC, sent)


def as_installed(sent: bytes):
    return answered(negotiation.Request, negotiation.negotiate, negotiation.Answer, sent)


def plain(found: list[PresentationContext]) -> list[dict]:
    return [vars(context) for context in found]


def same(one, other) -> bool:
    return (
        (one[0].calling_ae_title, one[0].called_ae_title)
        == (other[0].calling_ae_title, other[0].called_ae_title)
        and plain(one[0].presentation_context_definition_list)
        == plain(other[0].presentation_context_definition_list)
        and one[0].user_information == other[0].user_information
        and plain(one[1]) == plain(other[1])
        and one[2:] == other[2:]
    )


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED.keys())
def test_a_request_has_the_same_answer_as_pynetdicom_gives_the_first_time_and_later(asked):
    sent = request(asked)
    expected = as_pynetdicom(sent)
    for _ in range(3):
        assert same(as_installed(sent), expected)


def test_roles_are_settled_as_pynetdicom_settles_them():
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = "1.2.840.10008.1.20.1", False, True
    sent = request([("1.2.840.10008.1.20.1", SYNTAXES), (FILM, SYNTAXES)], roles=[role])
    expected = as_pynetdicom(sent)
    assert expected[2], "a role was settled"
    for _ in range(2):
        assert same(as_installed(sent), expected)


def test_the_same_contexts_asked_for_by_another_are_answered_to_that_one():
    first, second = (as_installed(request(ASKED["echo"], calling=who)) for who in ("ONE", "TWO"))
    assert first[0].presentation_context_definition_list == second[0].presentation_context_definition_list
    assert (first[0].calling_ae_title, second[0].calling_ae_title) == ("ONE", "TWO")
    assert b"ONE" in first[3]
    assert b"TWO" in second[3]


def test_what_is_supported_decides_of_what_was_remembered():
    sent = request(ASKED["all storage classes"])
    pdu = negotiation.Request()
    pdu.decode(sent)
    asked = pdu.to_primitive().presentation_context_definition_list
    for taken in ("all", "radiographs", "all"):
        expected, _ = negotiate_as_acceptor(asked, contexts._supported(asked, taken, False))
        settled, _ = negotiation.negotiate(asked, contexts.supported(asked, taken, False))
        assert plain(settled) == plain(expected)


def test_contexts_that_do_not_lie_side_by_side_are_decoded_as_pynetdicom_does():
    sent = request(ASKED["some refused"])
    items = list(A_ASSOCIATE_RQ._generate_items(sent[74:]))
    shuffled = [items[1], items[0], *items[2:]]
    mixed = sent[:74] + b"".join(data for _, data in shuffled)
    for _ in range(2):
        assert same(as_installed(mixed), as_pynetdicom(mixed))
    assert negotiation._items.cache_info().currsize == 0


def test_nothing_but_contexts_is_remembered():
    """Who calls may send names and passwords."""
    identity = UserIdentityNegotiation()
    identity.user_identity_type, identity.primary_field, identity.secondary_field = 2, b"name", b"password"
    sent = request(ASKED["echo"], roles=[identity])
    primitive = as_installed(sent)[0]
    assert identity in primitive.user_information
    assert identity not in as_installed(request(ASKED["echo"]))[0].user_information
    assert negotiation._items.cache_info().hits == 1, "it was remembered from the one who said who he is"


def test_a_long_request_is_not_remembered():
    """Whoever sends long ones must not fill the memory."""
    sent = request([(uid, [f"1.2.{n}.{'9' * 50}" for n in range(20)]) for uid in STORAGE[:128]])
    assert len(sent) > negotiation._LONGEST_BYTES
    assert same(as_installed(sent), as_pynetdicom(sent))
    for remembered in REMEMBERED:
        assert remembered.cache_info().currsize == 0


def test_only_the_last_requests_are_remembered():
    for number in range(3 * negotiation.REMEMBERED):
        as_installed(request([(f"1.2.840.10008.5.1.4.1.1.{number}", SYNTAXES)]))
    for remembered in REMEMBERED:
        assert remembered.cache_info().currsize == negotiation.REMEMBERED


@pytest.mark.parametrize("cut", [1, 5, 60, -1, -20])
def test_a_damaged_request_is_refused_each_time_as_pynetdicom_refuses_it(cut):
    sent = request(ASKED["some refused"])
    damaged = sent[:cut] if cut < 0 else sent[:74] + sent[74 + cut :]
    with pytest.raises(Exception) as expected:  # noqa: PT011 - of pynetdicom, of many kinds
        A_ASSOCIATE_RQ().decode(damaged)
    for _ in range(2):
        with pytest.raises(expected.type):
            negotiation.Request().decode(damaged)


# -- in the listener -------------------------------------------------------------------------------------------


def test_it_is_what_pynetdicom_calls():
    assert acceptor.negotiation is negotiation
    assert dul._PDU_TYPES[b"\x01"] == (negotiation.Request, "Evt6")
    assert fsm.A_ASSOCIATE_AC is negotiation.Answer


WORK = (
    (PresentationContextItemRQ, "decode"),
    (PresentationContextItemRQ, "to_primitive"),
    (negotiation, "negotiate_as_acceptor"),
    (PresentationContextItemAC, "encode"),
)
"""What only an acceptor has to do: this test asks with pynetdicom too."""


@pytest.mark.peer
def test_a_second_association_that_asks_for_the_same_is_not_worked_out_again(spool, ledger, monkeypatch):
    """Fails when pynetdicom's inner classes change so that what is remembered is not used any more."""
    worked: list[str] = []

    def counted(owner, name: str) -> None:
        original = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, **k: worked.append(name) or original(*a, **k))

    film = films.make_dx()
    with listening(spool, ledger) as (listener, _):
        kept = []
        for turn in range(3):
            association = associate(listener.port, film, calling=f"TURN{turn}")
            assert association.send_c_store(films.make_dx(seed=str(turn))).Status == 0x0000
            kept.append(copy.deepcopy([vars(each) for each in listener.associations[0].accepted_contexts]))
            association.release()
            if turn == 0:
                assert negotiation._settled.cache_info().currsize == 1, "this is how it was settled"
                for owner, name in WORK:
                    counted(owner, name)
    assert kept[0] == kept[1] == kept[2], "nobody changes what is remembered"
    assert worked == []
    assert [arrival.calling_ae for arrival in ledger.unregistered(9)] == ["TURN0", "TURN1", "TURN2"]
