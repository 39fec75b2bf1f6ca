"""What is kept in the database, as tables; each type and constraint means the same on SQLite and PostgreSQL.

How the tables came to be, revision by revision, is told in `gesso.storage.migrations`; a test holds the two together.
"""

from datetime import UTC, datetime
from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

REVISION: Final = "0002"
"""Of the migrations, the one that leads to these tables."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Moment(TypeDecorator[datetime]):
    """An instant: aware and in UTC on our side, without its zone in the database, which not every one can keep."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


accounts = Table(
    "accounts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("role", String(8), nullable=False),
    Column("unlimited", Boolean, nullable=False),
    Column("balance_micro", BigInteger, nullable=False),
    Column("free_micro", BigInteger, nullable=False),
    Column("rate", String(100)),
    Column("running", Integer),
    Column("waiting", Integer),
    Column("share", Integer, nullable=False),
    Column("created", Moment, nullable=False),
    CheckConstraint("role IN ('owner', 'member')", name="role_known"),
    CheckConstraint("unlimited OR balance_micro >= 0", name="balance_not_negative"),
    CheckConstraint("free_micro >= 0 AND (unlimited OR free_micro <= balance_micro)", name="free_within_balance"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", ForeignKey(accounts.c.id), nullable=False, index=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("prefix", String(16), nullable=False),
    Column("replies", String(8)),
    Column("models", JSON(none_as_null=True)),
    Column("rate", String(100)),
    Column("created", Moment, nullable=False),
    Column("expires", Moment),
    Column("rotated", Boolean, nullable=False),
    Column("revoked", Moment),
    Column("used", Moment),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("account_id", ForeignKey(accounts.c.id), nullable=False, index=True),
    Column("key_id", ForeignKey(api_keys.c.id), nullable=False),
    Column("slug", String(100), nullable=False),
    Column("request", JSON, nullable=False),
    Column("cost_micro", BigInteger, nullable=False),
    Column("status", String(10), nullable=False),
    Column("problem", Text),
    Column("delivery", JSON(none_as_null=True)),
    Column("resumes", Boolean, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("owner", String(64), nullable=False),
    Column("lease_until", Moment, nullable=False),
    Column("created", Moment, nullable=False),
    Column("updated", Moment, nullable=False),
    CheckConstraint("status IN ('queued', 'running', 'done', 'failed', 'cancelled')", name="status_known"),
    Index(None, "status", "lease_until"),
    Index(None, "status", "updated"),
)

# By what a caller calls a request that it may send twice. Like the ledger it outlives jobs that are made again.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("account_id", ForeignKey(accounts.c.id), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("job_id", String(64), nullable=False),
    Column("created", Moment, nullable=False, index=True),
)

# An entry outlives its job: jobs hold prompts and may be forgotten, money may not. So `job_id` is no foreign key.
ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("account_id", ForeignKey(accounts.c.id), nullable=False),
    Column("job_id", String(64)),
    Column("kind", String(8), nullable=False),
    Column("amount_micro", BigInteger, nullable=False),
    Column("free_micro", BigInteger, nullable=False),
    Column("note", String(200)),
    Column("created", Moment, nullable=False),
    Index(None, "account_id", "created"),
    UniqueConstraint("job_id", "kind"),
    CheckConstraint("kind IN ('grant', 'reserve', 'capture', 'release')", name="kind_known"),
    CheckConstraint("kind = 'grant' OR amount_micro >= 0", name="amount_not_negative"),
    CheckConstraint("(kind = 'grant') = (job_id IS NULL)", name="job_named"),
    CheckConstraint("abs(free_micro) <= abs(amount_micro)", name="free_within_amount"),
)

# Rows are written before the work, so that after a crash every file that a job may have left is known by name.
pictures = Table(
    "pictures",
    metadata,
    Column("token", String(64), primary_key=True),
    Column("job_id", ForeignKey(jobs.c.id), nullable=False),
    Column("image", Integer, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    UniqueConstraint("job_id", "image"),
)
