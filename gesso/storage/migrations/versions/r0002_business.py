"""What a business needs: roles, limits and scopes, free credits apart, safe retries, stored answers."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _change_accounts()
    _change_jobs()
    _change_ledger()


def _change_accounts() -> None:
    with op.batch_alter_table("accounts") as table:
        table.add_column(sa.Column("role", sa.String(8), nullable=False, server_default="member"))
        table.add_column(sa.Column("free_micro", sa.BigInteger, nullable=False, server_default="0"))
        table.add_column(sa.Column("rate", sa.String(100)))
        table.add_column(sa.Column("running", sa.Integer))
        table.add_column(sa.Column("waiting", sa.Integer))
        table.add_column(sa.Column("share", sa.Integer, nullable=False, server_default="1"))
    op.execute("UPDATE accounts SET role = 'owner' WHERE name = 'owner'")
    with op.batch_alter_table("accounts") as table:
        for name in ("role", "free_micro", "share"):
            table.alter_column(name, server_default=None)
        table.create_check_constraint(op.f("ck_accounts_role_known"), "role IN ('owner', 'member')")
        table.create_check_constraint(
            op.f("ck_accounts_free_within_balance"), "free_micro >= 0 AND (unlimited OR free_micro <= balance_micro)"
        )
    with op.batch_alter_table("api_keys") as table:
        table.add_column(sa.Column("models", sa.JSON))
        table.add_column(sa.Column("rate", sa.String(100)))
        table.add_column(sa.Column("expires", sa.DateTime))
        table.add_column(sa.Column("rotated", sa.Boolean, nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("used", sa.DateTime))
    with op.batch_alter_table("api_keys") as table:
        table.alter_column("rotated", server_default=None)


def _change_jobs() -> None:
    with op.batch_alter_table("jobs") as table:
        table.add_column(sa.Column("delivery", sa.JSON))
        table.add_column(sa.Column("resumes", sa.Boolean, nullable=False, server_default=sa.false()))
    with op.batch_alter_table("jobs") as table:
        table.alter_column("resumes", server_default=None)
    op.create_index(op.f("ix_jobs_status_updated"), "jobs", ["status", "updated"])
    op.create_table(
        "idempotency_keys",
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("job_id", sa.String(64), nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_idempotency_keys_account_id_accounts")),
        sa.PrimaryKeyConstraint("account_id", "name", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(op.f("ix_idempotency_keys_created"), "idempotency_keys", ["created"])


def _change_ledger() -> None:
    with op.batch_alter_table("ledger_entries") as table:
        table.add_column(sa.Column("free_micro", sa.BigInteger, nullable=False, server_default="0"))
        table.add_column(sa.Column("note", sa.String(200)))
    with op.batch_alter_table("ledger_entries") as table:
        table.alter_column("free_micro", server_default=None)
        table.create_check_constraint(
            op.f("ck_ledger_entries_free_within_amount"), "abs(free_micro) <= abs(amount_micro)"
        )
    op.drop_index(op.f("ix_ledger_entries_account_id"), "ledger_entries")
    op.create_index(op.f("ix_ledger_entries_account_id_created"), "ledger_entries", ["account_id", "created"])
