"""The tables of the ledger, as the newest migration leaves them; docs/sql.md explains each column.

A change here needs a migration in ``migrations/versions`` and a new :data:`REVISION`; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Date,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
    bindparam,
    false,
)

from spinepacs.store.columns import Key, Measure, PlainJson, SafeText, UtcTime

REVISION = "r0024"
"""The newest migration."""


def _partial(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index of those rows only that are looked for: see :func:`literally`.

    What it holds is told to readers only: the migrations make it, and telling SQLAlchemy would import both dialects.
    """
    return Index(name, *columns, unique=unique, info={"where": where})


def literally(column: Column[str], *values: str) -> ColumnElement[bool]:
    """Whether a column holds one of these values, in the words of a partial index: no bound value would choose it.

    The values are in the order of the index.
    """
    words = [bindparam(None, value, SafeText, unique=True, literal_execute=True) for value in values]
    return column == words[0] if len(words) == 1 else column.in_(words)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

studies = Table(
    "studies",
    metadata,
    Column("study_uid", SafeText, primary_key=True),
    Column("state", SafeText, nullable=False),
    Column("reason_code", SafeText, nullable=False, server_default=""),
    Column("reason", SafeText, nullable=False, server_default=""),
    Column("due_at", UtcTime, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("first_arrival_at", UtcTime, nullable=False),
    Column("last_arrival_at", UtcTime, nullable=False),
    Column("changed_at", UtcTime, nullable=False),
    Column("patient_id", SafeText, nullable=False, index=True),
    Column("patient_sex", SafeText, nullable=False),
    Column("patient_age_years", Measure),
    Column("study_date", Date, index=True),
    Column("accession_number", SafeText, nullable=False, index=True),
    Column("study_description", SafeText, nullable=False),
    Column("modality", SafeText, nullable=False),
    Column("body_part", SafeText, nullable=False),
    Column("urgent", Boolean, nullable=False, server_default=false()),
    Column("turn_at", UtcTime),
    Column("patients_differ_at", UtcTime),
    Column("seen_at", UtcTime),
    Column("rereading", Boolean, nullable=False, server_default=false()),
    Column("campaign_id", Key),
    Index("ix_studies_state_turn_at", "state", "turn_at", "study_uid"),
    Index("ix_studies_state_changed_at", "state", "changed_at"),
    Index("ix_studies_last_arrival_at_study_uid", "last_arrival_at", "study_uid"),
    Index("ix_studies_state_last_arrival_at", "state", "last_arrival_at", "study_uid"),
    _partial("ix_studies_mixed", "study_uid", where="patients_differ_at IS NOT NULL"),
    _partial("ix_studies_campaign", "campaign_id", "state", where="campaign_id IS NOT NULL"),
)

arrivals = Table(
    "arrivals",
    metadata,
    Column("arrival_id", Key, primary_key=True),
    Column("sop_uid", SafeText, nullable=False),
    Column("sop_class_uid", SafeText, nullable=False),
    Column("transfer_syntax_uid", SafeText, nullable=False),
    Column("sha256", SafeText, nullable=False),
    Column("size_bytes", Key, nullable=False),
    Column("source", SafeText, nullable=False),
    Column("calling_ae", SafeText, nullable=False),
    Column("called_ae", SafeText, nullable=False),
    Column("peer", SafeText, nullable=False),
    Column("received_at", UtcTime, nullable=False),
    Column("state", SafeText, nullable=False),
    Column("reason_code", SafeText, nullable=False, server_default=""),
    Column("reason", SafeText, nullable=False, server_default=""),
    Column("registrations", Integer, nullable=False, server_default="0"),
    Column("study_uid", SafeText, ForeignKey("studies.study_uid")),
    Column("series_uid", SafeText),
    Column("modality", SafeText, nullable=False, server_default=""),
    Column("body_part", SafeText, nullable=False, server_default=""),
    Column("file_deleted_at", UtcTime),
    Column("patient_id", SafeText, nullable=False, server_default="", index=True),
    Column("patient_sex", SafeText, nullable=False, server_default=""),
    Column("patient_age_years", Measure),
    Column("study_date", Date, index=True),
    Column("accession_number", SafeText, nullable=False, server_default="", index=True),
    Column("reread_after", Key),
    Column("file_name", SafeText, nullable=False, server_default=""),
    UniqueConstraint("sop_uid", "sha256"),
    Index("ix_arrivals_sha256", "sha256"),
    Index("ix_arrivals_state_reason_code", "state", "reason_code"),
    # Both columns: SQLite would else look for the selected films of a study among all that are selected.
    Index("ix_arrivals_study_uid_state", "study_uid", "state"),
    _partial("ix_arrivals_received", "state", "arrival_id", where="state = 'received'"),
    _partial("ix_arrivals_kept", "study_uid", "size_bytes", where="file_deleted_at IS NULL"),
    # The last line against two files of one SOP UID that are both read.
    _partial("uq_arrivals_in_use", "sop_uid", unique=True, where="state NOT IN ('conflict', 'unreadable')"),
)

readings = Table(
    "readings",
    metadata,
    Column("reading_id", Key, primary_key=True),
    Column("arrival_id", Key, ForeignKey("arrivals.arrival_id"), nullable=False),
    Column("study_uid", SafeText, ForeignKey("studies.study_uid"), nullable=False, index=True),
    Column("series_uid", SafeText, nullable=False),
    Column("sop_uid", SafeText, nullable=False, index=True),
    Column("model_name", SafeText, nullable=False),
    Column("model_version", SafeText, nullable=False),
    Column("policy_name", SafeText, nullable=False),
    Column("policy_version", SafeText, nullable=False),
    Column("read_at", UtcTime, nullable=False),
    Column("rows_px", Integer, nullable=False),
    Column("columns_px", Integer, nullable=False),
    Column("row_mm", Measure),
    Column("column_mm", Measure),
    Column("spacing_basis", SafeText),
    Column("magnification", Measure),
    Column("view_position", SafeText),
    Column("anterior_left", Boolean),
    Column("anterior_basis", SafeText, nullable=False),
    Column("missing_levels", SafeText, nullable=False),
    Column("notes", SafeText, nullable=False),
    Column("refusal_code", SafeText, nullable=False, server_default=""),
    Column("refusal_reason", SafeText, nullable=False, server_default=""),
    Column("seconds", PlainJson, nullable=False),
    Column("author", SafeText, nullable=False, server_default=""),
    # No foreign key: corrections refers to readings, and two tables that do so to each other cannot be put in order.
    Column("correction_id", Key),
    Column("campaign_id", Key),
    Column("bare", Boolean, nullable=False, server_default=false()),
    _partial("ix_readings_refused", "reading_id", where="refusal_code <> ''"),
    Index("ix_readings_arrival_id", "arrival_id"),
    Index("ix_readings_model_name", "model_name", "model_version", "study_uid"),
    Index("uq_readings_correction_id", "correction_id", unique=True),
    # The last line against two results of one film under one model and policy: their objects would have the same UIDs.
    _partial(
        "uq_readings_published",
        "arrival_id",
        "model_name",
        "model_version",
        "policy_name",
        "policy_version",
        unique=True,
        where="refusal_code = '' AND author = ''",
    ),
)

corrections = Table(
    "corrections",
    metadata,
    Column("correction_id", Key, primary_key=True),
    Column("uid", SafeText, nullable=False, unique=True),
    Column("arrival_id", Key, ForeignKey("arrivals.arrival_id"), nullable=False, index=True),
    Column("study_uid", SafeText, ForeignKey("studies.study_uid"), nullable=False, index=True),
    Column("base_reading_id", Key, ForeignKey("readings.reading_id"), nullable=False),
    Column("author", SafeText, nullable=False),
    Column("organisation", SafeText, nullable=False, server_default=""),
    Column("reason", SafeText, nullable=False, server_default=""),
    Column("made_at", UtcTime, nullable=False),
    Column("operations", PlainJson, nullable=False),
    Column("drawn_by", SafeText, nullable=False, server_default=""),
    Column("state", SafeText, nullable=False),
    Column("ended_at", UtcTime),
    Column("refusal_code", SafeText, nullable=False, server_default=""),
    Column("refusal_reason", SafeText, nullable=False, server_default=""),
    # The last line against two persons who correct one film at once.
    _partial(
        "uq_corrections_pending",
        "arrival_id",
        unique=True,
        where="state = 'pending'",
    ),
    _partial("ix_corrections_pending", "study_uid", where="state = 'pending'"),
)

vertebrae = Table(
    "vertebrae",
    metadata,
    Column("vertebra_id", Key, primary_key=True),
    Column("reading_id", Key, ForeignKey("readings.reading_id"), nullable=False),
    Column("level", SafeText, nullable=False),
    Column("level_order", Integer, nullable=False),
    Column("raw_level", SafeText, nullable=False),
    Column("raw_score", Measure),
    Column("level_reason", SafeText, nullable=False),
    Column("score", Measure),
    Column("centre_x_px", Measure),
    Column("centre_y_px", Measure),
    Column("area_px", Measure),
    Column("outline_px", PlainJson, nullable=False),
    Column("upper_px", PlainJson),
    Column("lower_px", PlainJson),
    Column("level_margin", Measure),
    Column("other_level", SafeText),
    UniqueConstraint("reading_id", "level"),
    Index("ix_vertebrae_level", "level", "reading_id"),
)

discs = Table(
    "discs",
    metadata,
    Column("disc_id", Key, primary_key=True),
    Column("reading_id", Key, ForeignKey("readings.reading_id"), nullable=False),
    Column("disc", SafeText, nullable=False),
    Column("disc_order", Integer, nullable=False),
    Column("upper_level", SafeText, nullable=False),
    Column("lower_level", SafeText, nullable=False),
    *(
        Column(f"{where}_{unit}", Measure)
        for unit in ("px", "mm")
        for where in ("anterior", "middle", "posterior", "left", "right")
    ),
    Column("height_index", Measure),
    Column("wedge_deg", Measure),
    Column("lines_px", PlainJson, nullable=False),
    UniqueConstraint("reading_id", "disc"),
    Index("ix_discs_disc", "disc", "reading_id"),
)

findings = Table(
    "findings",
    metadata,
    Column("finding_id", Key, primary_key=True),
    Column("reading_id", Key, ForeignKey("readings.reading_id"), nullable=False),
    Column("kind", SafeText, nullable=False),
    Column("disc", SafeText),
    Column("level", SafeText),
    Column("value", Measure),
    Column("unit", SafeText, nullable=False),
    Column("computed_grade", Integer),
    Column("published_grade", Integer),
    Column("reason", SafeText, nullable=False),
    Column("place", SafeText, nullable=False, server_default=""),
    Column("level_order", Integer, nullable=False, server_default="0"),
    Column("side", SafeText, nullable=False, server_default=""),
    Column("scheme", SafeText, nullable=False, server_default="spinepacs"),
    Column("uncertainty", Measure),
    Column("basis", SafeText),
    Column("lowest_grade", Integer),
    Column("highest_grade", Integer),
    Column("expected", Measure),
    Column("expected_from", SafeText),
    Column("form", SafeText),
    Column("reference_scheme", SafeText),
    Column("reference_grade", Integer),
    Column("marks_px", PlainJson),
    Index("uq_findings_reading_id_kind_place_side", "reading_id", "kind", "place", "side", unique=True),
    Index("ix_findings_kind_published_grade", "kind", "published_grade"),
)

measures = Table(
    "measures",
    metadata,
    Column("measure_id", Key, primary_key=True),
    Column("reading_id", Key, ForeignKey("readings.reading_id"), nullable=False),
    Column("quantity", SafeText, nullable=False),
    Column("place", SafeText, nullable=False),
    Column("upper_level", SafeText, nullable=False),
    Column("lower_level", SafeText, nullable=False),
    Column("level_order", Integer, nullable=False),
    Column("value", Measure),
    Column("unit", SafeText, nullable=False),
    Column("uncertainty", Measure),
    Column("basis", SafeText),
    Column("apex", SafeText),
    Column("convex_left", Boolean),
    Column("lines_px", PlainJson, nullable=False),
    Column("reason", SafeText, nullable=False, server_default=""),
    UniqueConstraint("reading_id", "quantity", "place"),
    Index("ix_measures_quantity_place", "quantity", "place"),
)

conclusions = Table(
    "conclusions",
    metadata,
    Column("conclusion_id", Key, primary_key=True),
    Column("reading_id", Key, ForeignKey("readings.reading_id"), nullable=False),
    Column("area", SafeText, nullable=False),
    Column("span", SafeText),
    Column("scheme", SafeText, nullable=False),
    Column("computed_degree", Integer),
    Column("published_degree", Integer),
    Column("statement", SafeText, nullable=False),
    Column("sentence", SafeText, nullable=False),
    Column("reason", SafeText, nullable=False),
    Column("for_age", SafeText),
    Column("support", PlainJson, nullable=False),
    UniqueConstraint("reading_id", "area"),
    Index("ix_conclusions_area_published_degree", "area", "published_degree"),
)

notes = Table(
    "notes",
    metadata,
    Column("reading_id", Key, ForeignKey("readings.reading_id"), primary_key=True),
    Column("code", SafeText, primary_key=True, index=True),
)

objects = Table(
    "objects",
    metadata,
    Column("sop_uid", SafeText, primary_key=True),
    Column("reading_id", Key, ForeignKey("readings.reading_id"), nullable=False, index=True),
    Column("kind", SafeText, nullable=False),
    Column("sop_class_uid", SafeText, nullable=False),
    Column("series_uid", SafeText, nullable=False),
    Column("transfer_syntax_uid", SafeText, nullable=False),
    Column("sha256", SafeText, nullable=False, index=True),
    Column("size_bytes", Key, nullable=False),
    Column("file_deleted_at", UtcTime),
    Column("replaced_by", Key),
    _partial("ix_objects_kept", "reading_id", "size_bytes", where="file_deleted_at IS NULL"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("outbox_id", Key, primary_key=True),
    Column("study_uid", SafeText, ForeignKey("studies.study_uid"), nullable=False, index=True),
    Column("sop_uid", SafeText, ForeignKey("objects.sop_uid"), nullable=False),
    Column("destination", SafeText, nullable=False),
    Column("state", SafeText, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_attempt_at", UtcTime, nullable=False),
    Column("last_attempt_at", UtcTime),
    Column("sent_at", UtcTime),
    Column("status", Integer),
    Column("message", SafeText, nullable=False, server_default=""),
    Column("created_at", UtcTime, nullable=False),
    Column("commitment_due_at", UtcTime),
    Column("commitment_requests", Integer, nullable=False, server_default="0"),
    Column("commitment_failure", Integer),
    Column("committed_at", UtcTime),
    Column("losses", Integer, nullable=False, server_default="0"),
    UniqueConstraint("sop_uid", "destination"),
    Index("ix_outbox_destination_state_next_attempt_at", "destination", "state", "next_attempt_at"),
    _partial("ix_outbox_open", "destination", "state", "created_at", where="state IN ('pending', 'failed')"),
    # Of all that was ever sent only this little is looked for.
    _partial(
        "ix_outbox_uncommitted",
        "destination",
        "commitment_due_at",
        where="commitment_due_at IS NOT NULL",
    ),
)

commitments = Table(
    "commitments",
    metadata,
    Column("transaction_uid", SafeText, primary_key=True),
    Column("destination", SafeText, nullable=False),
    Column("requested_at", UtcTime, nullable=False),
    Column("objects", Integer, nullable=False),
    Column("status", Integer),
    Column("answered_at", UtcTime),
    Column("answered_by", SafeText, nullable=False, server_default=""),
    Column("committed", Integer, nullable=False, server_default="0"),
    Column("refused", Integer, nullable=False, server_default="0"),
)


attempts = Table(
    "attempts",
    metadata,
    Column("attempt_id", Key, primary_key=True),
    Column("study_uid", SafeText, ForeignKey("studies.study_uid"), nullable=False, index=True),
    Column("number", Integer, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("outcome", SafeText, nullable=False, server_default="working"),
    Column("reason_code", SafeText, nullable=False, server_default=""),
    Column("reason", SafeText, nullable=False, server_default=""),
    _partial("ix_attempts_open", "study_uid", where="ended_at IS NULL"),
    Column("machine_id", SafeText, nullable=False, server_default=""),
    _partial("ix_attempts_machine", "machine_id", where="ended_at IS NULL"),
)

machines = Table(
    "machines",
    metadata,
    Column("machine_id", SafeText, primary_key=True),
    Column("name", SafeText, nullable=False),
    Column("role", SafeText, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("beat_at", UtcTime, nullable=False),
    Column("beats", Key, nullable=False, server_default="0"),
    Column("ended_at", UtcTime),
    Column("ended_how", SafeText, nullable=False, server_default=""),
    Column("processes", PlainJson, nullable=False),
    Column("traffic", PlainJson, nullable=False),
)

senders = Table(
    "senders",
    metadata,
    Column("sender", SafeText, primary_key=True),
    Column("turn_at", UtcTime, nullable=False),
)

installation = Table(
    "installation",
    metadata,
    Column("name", SafeText, primary_key=True),
    Column("value", SafeText, nullable=False),
)

campaigns = Table(
    "campaigns",
    metadata,
    Column("campaign_id", Key, primary_key=True),
    Column("name", SafeText, nullable=False, unique=True),
    Column("state", SafeText, nullable=False),
    Column("kind", SafeText, nullable=False),
    Column("place", SafeText, nullable=False),
    Column("move_to", SafeText, nullable=False),
    Column("credentials", SafeText, nullable=False),
    Column("query", PlainJson, nullable=False),
    Column("wanted", PlainJson),
    Column("model_folder", SafeText, nullable=False),
    Column("policy_file", SafeText, nullable=False),
    Column("model_name", SafeText, nullable=False),
    Column("model_version", SafeText, nullable=False),
    Column("policy_name", SafeText, nullable=False),
    Column("policy_version", SafeText, nullable=False),
    Column("delivers", Boolean, nullable=False),
    Column("per_hour", Measure),
    Column("hours", PlainJson, nullable=False),
    Column("position", SafeText, nullable=False, server_default=""),
    Column("listed_at", UtcTime),
    Column("trouble", SafeText, nullable=False, server_default=""),
    Column("created_at", UtcTime, nullable=False),
    Column("changed_at", UtcTime, nullable=False),
)

campaign_items = Table(
    "campaign_items",
    metadata,
    Column("item_id", Key, primary_key=True),
    Column("campaign_id", Key, ForeignKey("campaigns.campaign_id"), nullable=False),
    Column("what", SafeText, nullable=False),
    Column("state", SafeText, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("reason_code", SafeText, nullable=False, server_default=""),
    Column("reason", SafeText, nullable=False, server_default=""),
    Column("asked_at", UtcTime),
    Column("due_at", UtcTime),
    Column("changed_at", UtcTime, nullable=False),
    Column("ask_id", Key),
    UniqueConstraint("campaign_id", "what"),
    Index("ix_campaign_items_campaign_id_state", "campaign_id", "state", "item_id"),
    Index("ix_campaign_items_campaign_id_asked_at", "campaign_id", "asked_at"),
)

campaign_films = Table(
    "campaign_films",
    metadata,
    Column("film_id", Key, primary_key=True),
    Column("item_id", Key, ForeignKey("campaign_items.item_id"), nullable=False, index=True),
    Column("campaign_id", Key, ForeignKey("campaigns.campaign_id"), nullable=False),
    Column("sop_uid", SafeText, nullable=False, index=True),
    Column("study_uid", SafeText, nullable=False, index=True),
    Column("state", SafeText, nullable=False),
    Column("reason_code", SafeText, nullable=False, server_default=""),
    Column("reason", SafeText, nullable=False, server_default=""),
    UniqueConstraint("campaign_id", "sop_uid"),
    Index("ix_campaign_films_campaign_id_state", "campaign_id", "state", "reason_code"),
)

prior_asks = Table(
    "prior_asks",
    metadata,
    Column("ask_id", Key, primary_key=True),
    Column("patient_id", SafeText, nullable=False),
    Column("issuer", SafeText, nullable=False),
    Column("study_uid", SafeText, nullable=False),
    Column("study_date", Date),
    Column("state", SafeText, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("reason_code", SafeText, nullable=False, server_default=""),
    Column("reason", SafeText, nullable=False, server_default=""),
    Column("due_at", UtcTime, nullable=False),
    Column("wanted_at", UtcTime, nullable=False),
    Column("asked_at", UtcTime),
    Column("found", Integer, nullable=False, server_default="0"),
    Column("strangers", Integer, nullable=False, server_default="0"),
    UniqueConstraint("patient_id", "issuer"),
    _partial("ix_prior_asks_open", "due_at", where="state IN ('waiting', 'asking', 'failed')"),
)

workitems = Table(
    "workitems",
    metadata,
    Column("workitem_uid", SafeText, primary_key=True),
    Column("transaction_uid", SafeText, nullable=False),
    Column("state", SafeText, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("progress", Integer, nullable=False, server_default="-1"),
    Column("code", PlainJson),
    Column("priority", SafeText, nullable=False, server_default="MEDIUM"),
    Column("inputs", PlainJson),
    Column("films", PlainJson),
    Column("reason_code", SafeText, nullable=False, server_default=""),
    Column("reason", SafeText, nullable=False, server_default=""),
    Column("found_at", UtcTime, nullable=False),
    Column("due_at", UtcTime, nullable=False),
    Column("claimed_at", UtcTime),
    Column("ended_at", UtcTime),
    _partial("ix_workitems_open", "due_at", where="state IN ('claiming', 'claimed')"),
)

failed_files = Table(
    "failed_files",
    metadata,
    Column("failed_file_id", Key, primary_key=True),
    Column("file_name", SafeText, nullable=False),
    Column("reason_code", SafeText, nullable=False),
    Column("reason", SafeText, nullable=False),
    Column("failed_at", UtcTime, nullable=False),
    Column("gone_at", UtcTime, index=True),
)

events = Table(
    "events",
    metadata,
    Column("event_id", Key, primary_key=True),
    Column("happened_at", UtcTime, nullable=False),
    Column("kind", SafeText, nullable=False, index=True),
    Column("study_uid", SafeText, nullable=False, index=True),
    Column("sop_uid", SafeText, nullable=False),
    Column("detail", SafeText, nullable=False),
)

audit_events = Table(
    "audit_events",
    metadata,
    Column("audit_id", Key, primary_key=True),
    Column("happened_at", UtcTime, nullable=False, index=True),
    Column("action", SafeText, nullable=False),
    Column("study_uid", SafeText, nullable=False, server_default="", index=True),
    Column("sop_uid", SafeText, nullable=False, server_default=""),
    Column("sop_class_uid", SafeText, nullable=False, server_default=""),
    Column("sha256", SafeText, nullable=False, server_default=""),
    Column("calling_ae", SafeText, nullable=False, server_default=""),
    Column("called_ae", SafeText, nullable=False, server_default=""),
    Column("peer", SafeText, nullable=False, server_default=""),
    Column("destination", SafeText, nullable=False, server_default=""),
    Column("detail", SafeText, nullable=False, server_default=""),
    Column("account", SafeText, nullable=False, server_default=""),
)

audit_exports = Table(
    "audit_exports",
    metadata,
    Column("target", SafeText, primary_key=True),
    Column("audit_id", Key, nullable=False),
)

accounts = Table(
    "accounts",
    metadata,
    Column("name", SafeText, primary_key=True),
    Column("role", SafeText, nullable=False),
    Column("password_hash", SafeText, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("password_at", UtcTime, nullable=False),
    Column("disabled_at", UtcTime),
)

web_sessions = Table(
    "web_sessions",
    metadata,
    Column("token_sha256", SafeText, primary_key=True),
    Column("account", SafeText, ForeignKey("accounts.name"), nullable=False, index=True),
    Column("peer", SafeText, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False, index=True),
)

account_tokens = Table(
    "account_tokens",
    metadata,
    Column("token_sha256", SafeText, primary_key=True),
    Column("account", SafeText, ForeignKey("accounts.name"), nullable=False, index=True),
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),
)

notices = Table(
    "notices",
    metadata,
    Column("notice_id", Key, primary_key=True),
    Column("channel", SafeText, nullable=False),
    Column("kind", SafeText, nullable=False),
    Column("subject", SafeText, nullable=False),
    Column("study_uid", SafeText, nullable=False, server_default=""),
    Column("detail", PlainJson, nullable=False),
    Column("made_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("state", SafeText, nullable=False),
    Column("batch", SafeText, nullable=False, server_default=""),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_attempt_at", UtcTime, nullable=False),
    Column("sent_at", UtcTime),
    Column("message", SafeText, nullable=False, server_default=""),
    # The last line against telling of one thing twice; what has ended may begin again.
    _partial("uq_notices_subject", "channel", "kind", "subject", unique=True, where="ended_at IS NULL"),
    _partial("ix_notices_pending", "channel", "batch", "made_at", where="state = 'pending'"),
    Index("ix_notices_channel_state_sent_at", "channel", "state", "sent_at"),
)

notice_marks = Table(
    "notice_marks",
    metadata,
    Column("channel", SafeText, primary_key=True),
    Column("source", SafeText, primary_key=True),
    Column("reached", Key, nullable=False),
    Column("looked_at", UtcTime, nullable=False),
)

samples = Table(
    "samples",
    metadata,
    Column("taken_at", UtcTime, primary_key=True),
    Column("seconds", Measure, nullable=False),
    Column("counted", PlainJson, nullable=False),
    Column("waiting", PlainJson, nullable=False),
    Column("reached", PlainJson, nullable=False),
)
