"""What the books add up to, and what is told where they do not."""

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Connection, update

from gesso.accounts import ledger
from gesso.accounts.accounts import Account, Accounts
from gesso.accounts.statement import Day, discrepancies, forgotten_reservations, repair, statement
from gesso.errors import Conflict, NotFound
from gesso.storage.database import Database
from gesso.storage.tables import accounts, ledger_entries

CREDIT = 1_000_000
TODAY = datetime.now(UTC).date()


@pytest.fixture
async def account(database: Database) -> Account:
    return await Accounts(database).create("acme", 10 * CREDIT)


async def test_a_statement_has_a_row_for_every_day_on_which_something_happened(
    database: Database, account: Account
) -> None:
    def back_date(connection: Connection) -> None:
        ledger.grant(connection, account.id, CREDIT, free=True, note="welcome")
        ledger.reserve(connection, account.id, "old", 2 * CREDIT)
        past = datetime.now(UTC) - timedelta(days=2)
        connection.execute(update(ledger_entries).values(created=past))
        ledger.capture(connection, "old", 2 * CREDIT)
        for number in range(3):
            ledger.reserve(connection, account.id, f"job {number}", CREDIT)
        ledger.capture(connection, "job 0", CREDIT)
        ledger.release(connection, "job 1")

    await database.write(back_date)
    days = await database.read(lambda connection: statement(connection, account.id))
    assert days == [
        Day(TODAY - timedelta(days=2), 10 * CREDIT, CREDIT, 0, 0, 2 * CREDIT, 9 * CREDIT, 0),
        Day(TODAY, 0, 0, 2, 3 * CREDIT, CREDIT, 7 * CREDIT, 0),
    ]
    assert isinstance(days[0].day, date)


async def test_a_statement_is_of_one_account_and_that_has_to_be_there(database: Database, account: Account) -> None:
    other = await Accounts(database).create("other")
    assert await database.read(lambda connection: statement(connection, other.id)) == []
    with pytest.raises(NotFound):
        await database.read(lambda connection: statement(connection, other.id + 1))


async def test_a_balance_that_its_entries_do_not_explain_is_told_and_repaired(
    database: Database, account: Account
) -> None:
    await Accounts(database).create("other", CREDIT)
    mine = accounts.c.id == account.id
    wrong = update(accounts).where(mine).values(balance_micro=accounts.c.balance_micro + 1, free_micro=2)
    await database.write(lambda connection: connection.execute(wrong))
    found = await database.read(discrepancies)
    assert [one.sentence for one in found] == [
        "Account 'acme' has 10.000001 credits, 0.000002 of them free, but its entries add up to 10, 0 of them free."
    ]
    assert await database.write(repair) == found
    assert await database.read(discrepancies) == []
    assert (await Accounts(database).find("acme")).balance_micro == 10 * CREDIT


async def test_a_reservation_that_no_living_job_holds_is_told(database: Database, account: Account) -> None:
    def reserve_two(connection: Connection) -> None:
        for job in ("settled", "forgotten"):
            ledger.reserve(connection, account.id, job, CREDIT)
        ledger.release(connection, "settled")

    await database.write(reserve_two)
    assert await database.read(forgotten_reservations) == ["forgotten"]
    await database.write(repair)
    assert await database.read(forgotten_reservations) == []
    assert (await Accounts(database).find("acme")).balance_micro == 10 * CREDIT


async def test_what_cannot_be_repaired_is_told(database: Database, account: Account) -> None:
    taken = update(ledger_entries).values(amount_micro=-CREDIT)
    await database.write(lambda connection: connection.execute(taken))
    with pytest.raises(Conflict, match=r"add up to -1, 0 of them free\. It cannot be so"):
        await database.write(repair)
    assert (await Accounts(database).find("acme")).balance_micro == 10 * CREDIT
