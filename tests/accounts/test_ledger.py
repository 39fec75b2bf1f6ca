import asyncio
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from gesso.accounts import ledger
from gesso.accounts.credit import MOST_MICRO, UNLIMITED_MICRO
from gesso.accounts.keys import Account, Keys
from gesso.errors import BadRequest, InsufficientCredits, NotFound
from gesso.storage.database import Database, open_database
from gesso.storage.tables import accounts, ledger_entries

CREDIT = 1_000_000


@pytest.fixture
async def account(database: Database) -> Account:
    return await Keys(database).create_account("acme", 10 * CREDIT)


async def left(database: Database, account: Account) -> int:
    def balance(connection: Connection) -> int:
        assert ledger.discrepancies(connection) == []
        return ledger.balance(connection, account.id)

    return await database.read(balance)


async def kinds(database: Database, job_id: str) -> dict[str, int]:
    columns = select(ledger_entries.c.kind, ledger_entries.c.amount_micro)
    query = columns.where(ledger_entries.c.job_id == job_id).order_by(ledger_entries.c.id)
    rows = await database.read(lambda connection: connection.execute(query).all())
    return {row.kind: row.amount_micro for row in rows}


async def reserve(database: Database, account: Account, job_id: str, micro: int) -> None:
    await database.write(lambda connection: ledger.reserve(connection, account.id, job_id, micro))


async def capture(database: Database, job_id: str, micro: int) -> None:
    await database.write(lambda connection: ledger.capture(connection, job_id, micro))


async def release(database: Database, job_id: str) -> None:
    await database.write(lambda connection: ledger.release(connection, job_id))


async def test_what_is_reserved_and_captured_is_gone(database: Database, account: Account) -> None:
    await reserve(database, account, "job", 3 * CREDIT)
    assert await left(database, account) == 7 * CREDIT
    await capture(database, "job", 3 * CREDIT)
    assert await left(database, account) == 7 * CREDIT
    assert await kinds(database, "job") == {"reserve": 3 * CREDIT, "capture": 3 * CREDIT}


async def test_what_is_released_is_there_again(database: Database, account: Account) -> None:
    await reserve(database, account, "job", 3 * CREDIT)
    await release(database, "job")
    assert await left(database, account) == 10 * CREDIT
    assert await kinds(database, "job") == {"reserve": 3 * CREDIT, "release": 3 * CREDIT}


async def test_of_a_part_delivered_the_rest_is_released(database: Database, account: Account) -> None:
    await reserve(database, account, "job", 4 * CREDIT)
    await capture(database, "job", 3 * CREDIT)
    assert await left(database, account) == 7 * CREDIT
    assert await kinds(database, "job") == {"reserve": 4 * CREDIT, "capture": 3 * CREDIT, "release": CREDIT}


async def test_everything_done_twice_is_done_once(database: Database, account: Account) -> None:
    for _ in range(2):
        await reserve(database, account, "charged", 3 * CREDIT)
        await reserve(database, account, "released", 5 * CREDIT)
    for _ in range(2):
        await capture(database, "charged", 3 * CREDIT)
        await release(database, "charged")
        await release(database, "released")
        await capture(database, "released", 5 * CREDIT)
    assert await left(database, account) == 7 * CREDIT
    assert await kinds(database, "charged") == {"reserve": 3 * CREDIT, "capture": 3 * CREDIT}
    assert await kinds(database, "released") == {"reserve": 5 * CREDIT, "release": 5 * CREDIT}


async def test_captures_that_race_charge_once(database: Database, account: Account, database_url: str) -> None:
    other = await open_database(database_url)
    await reserve(database, account, "job", 3 * CREDIT)
    await asyncio.gather(*(capture(through, "job", 3 * CREDIT) for through in [database, other] * 10))
    assert await left(database, account) == 7 * CREDIT
    await other.close()


async def test_the_database_itself_refuses_a_second_entry_of_a_kind(database: Database, account: Account) -> None:
    await reserve(database, account, "job", 3 * CREDIT)
    query = select(ledger_entries).where(ledger_entries.c.job_id == "job")
    entry = await database.read(lambda connection: connection.execute(query).one())
    again = insert(ledger_entries).values(entry._asdict() | {"id": entry.id + 1})
    with pytest.raises(IntegrityError):
        await database.write(lambda connection: connection.execute(again))


async def test_the_database_itself_refuses_a_balance_below_zero(database: Database, account: Account) -> None:
    with pytest.raises(IntegrityError):
        await database.write(lambda connection: connection.execute(update(accounts).values(balance_micro=-1)))


async def test_more_is_never_captured_than_was_reserved(database: Database, account: Account) -> None:
    await reserve(database, account, "job", CREDIT)
    for micro in (CREDIT + 1, -1):
        with pytest.raises(ValueError, match="cannot be captured"):
            await capture(database, "job", micro)
    assert await left(database, account) == 9 * CREDIT


async def test_a_job_that_reserved_nothing_is_charged_nothing(database: Database, account: Account) -> None:
    await capture(database, "unknown", CREDIT)
    await release(database, "unknown")
    assert await left(database, account) == 10 * CREDIT
    assert await kinds(database, "unknown") == {}


async def test_a_cost_beyond_the_balance_is_refused_with_both_in_credits(database: Database, account: Account) -> None:
    with pytest.raises(InsufficientCredits, match=r"10 credits.*10\.000001 credits"):
        await reserve(database, account, "job", 10 * CREDIT + 1)
    assert await left(database, account) == 10 * CREDIT
    assert await kinds(database, "job") == {}
    await reserve(database, account, "job", 10 * CREDIT)


async def test_fifty_parallel_spenders_on_a_balance_for_ten(
    database: Database, account: Account, database_url: str
) -> None:
    other = await open_database(database_url)

    async def spend(number: int) -> bool:
        through = (database, other)[number % 2]
        with suppress(InsufficientCredits):
            await reserve(through, account, f"job {number}", CREDIT)
            await capture(through, f"job {number}", CREDIT)
            return True
        return False

    assert sum(await asyncio.gather(*map(spend, range(50)))) == 10
    assert await left(database, account) == 0
    await other.close()


async def test_an_account_without_limit_is_never_refused_but_written_down(database: Database) -> None:
    owner = await Keys(database).create_account("owner", unlimited=True)
    await reserve(database, owner, "job", 5 * CREDIT)
    await capture(database, "job", 5 * CREDIT)
    assert await left(database, owner) == UNLIMITED_MICRO
    assert await kinds(database, "job") == {"reserve": 5 * CREDIT, "capture": 5 * CREDIT}
    assert (await Keys(database).account("owner")).balance_micro == -5 * CREDIT


async def test_credits_given_can_be_taken_back_but_not_spent_ones(database: Database, account: Account) -> None:
    def give_and_take(connection: Connection) -> None:
        ledger.grant(connection, account.id, 2 * CREDIT)
        ledger.grant(connection, account.id, -5 * CREDIT)

    await database.write(give_and_take)
    assert await left(database, account) == 7 * CREDIT
    with pytest.raises(InsufficientCredits):
        await database.write(lambda connection: ledger.grant(connection, account.id, -8 * CREDIT))
    assert await left(database, account) == 7 * CREDIT


async def test_grants_have_an_end_and_need_an_account(database: Database, account: Account) -> None:
    with pytest.raises(BadRequest, match="999999999"):
        await database.write(lambda connection: ledger.grant(connection, account.id, MOST_MICRO + 1))
    with pytest.raises(NotFound):
        await database.write(lambda connection: ledger.grant(connection, account.id + 1, CREDIT))


async def test_a_balance_that_its_entries_do_not_explain_is_told(database: Database, account: Account) -> None:
    def falsify(connection: Connection) -> None:
        connection.execute(update(accounts).values(balance_micro=accounts.c.balance_micro + 1))
        assert ledger.discrepancies(connection) == [
            "Account 'acme' has 10.000001 credits, but its entries add up to 10."
        ]
        connection.execute(delete(ledger_entries))
        assert "add up to 0." in ledger.discrepancies(connection)[0]

    await database.write(falsify)


JOBS = st.sampled_from([f"job {number}" for number in range(6)])
AMOUNTS = st.integers(0, 6)


class Accounting(RuleBasedStateMachine):
    """The ledger beside a model of it: what is free, what each job holds, what each was charged."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.runner = asyncio.Runner()
        url = f"sqlite:///{Path(self.folder.name) / 'gesso.db'}"
        self.database = self.runner.run(open_database(url))
        self.account = self.runner.run(Keys(self.database).create_account("acme"))
        self.free = 0
        self.held: dict[str, int] = {}
        self.charged: dict[str, int] = {}

    @rule(amount=AMOUNTS)
    def grant(self, amount: int) -> None:
        self.runner.run(self.database.write(lambda connection: ledger.grant(connection, self.account.id, amount)))
        self.free += amount

    @rule(job=JOBS, amount=AMOUNTS)
    def reserve(self, job: str, amount: int) -> None:
        known = job in self.held or job in self.charged
        try:
            self.runner.run(reserve(self.database, self.account, job, amount))
        except InsufficientCredits:
            assert not known
            assert amount > self.free
        else:
            self.held |= {} if known else {job: amount}
            self.free -= 0 if known else amount

    @rule(job=JOBS, share=st.sampled_from([0, 0.5, 1]))
    def capture(self, job: str, share: float) -> None:
        part = int(self.held.get(job, 0) * share)
        self.runner.run(capture(self.database, job, part))
        self._settle(job, part)

    @rule(job=JOBS)
    def release(self, job: str) -> None:
        self.runner.run(release(self.database, job))
        self._settle(job, 0)

    def _settle(self, job: str, part: int) -> None:
        if self.held.get(job, 0) > 0:
            self.free += self.held[job] - part
            self.charged[job] = part
            del self.held[job]

    @invariant()
    def every_credit_is_accounted_for(self) -> None:
        assert self.runner.run(left(self.database, self.account)) == self.free

    @invariant()
    def every_job_is_charged_what_was_captured(self) -> None:
        total = func.coalesce(func.sum(ledger_entries.c.amount_micro), 0)
        query = select(total).where(ledger_entries.c.kind == "capture")
        captured = self.runner.run(self.database.read(lambda connection: connection.execute(query).scalar_one()))
        assert captured == sum(self.charged.values())

    def teardown(self) -> None:
        self.runner.run(self.database.close())
        self.runner.close()
        self.folder.cleanup()


def test_after_any_sequence_the_balance_is_what_the_entries_say() -> None:
    run_state_machine_as_test(
        Accounting,
        settings=settings(
            max_examples=8, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
