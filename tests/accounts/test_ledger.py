import asyncio
import itertools
from contextlib import suppress
from functools import partial

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from gesso.accounts import ledger
from gesso.accounts.accounts import Account, Accounts
from gesso.accounts.credit import MOST_MICRO, UNLIMITED_MICRO
from gesso.accounts.statement import discrepancies, statement
from gesso.errors import BadRequest, InsufficientCredits, NotFound
from gesso.storage.database import Database, open_database
from gesso.storage.tables import accounts, ledger_entries

CREDIT = 1_000_000


@pytest.fixture
async def account(database: Database) -> Account:
    return await Accounts(database).create("acme", 10 * CREDIT)


async def left(database: Database, account: Account) -> int:
    def balance(connection: Connection) -> int:
        assert discrepancies(connection) == []
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
    owner = await Accounts(database).create("owner", unlimited=True)
    await reserve(database, owner, "job", 5 * CREDIT)
    await capture(database, "job", 5 * CREDIT)
    assert await left(database, owner) == UNLIMITED_MICRO
    assert await kinds(database, "job") == {"reserve": 5 * CREDIT, "capture": 5 * CREDIT}
    assert (await Accounts(database).find("owner")).balance_micro == -5 * CREDIT


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


async def test_free_credits_are_spent_first_and_go_back_to_where_they_came_from(
    database: Database, account: Account
) -> None:
    await give_free(database, account, 2 * CREDIT)
    assert await parts(database, account) == (12 * CREDIT, 2 * CREDIT)
    await reserve(database, account, "job", 3 * CREDIT)
    assert await parts(database, account) == (9 * CREDIT, 0)
    await release(database, "job")
    assert await parts(database, account) == (12 * CREDIT, 2 * CREDIT)
    await reserve(database, account, "other", 3 * CREDIT)
    await capture(database, "other", CREDIT)
    assert await parts(database, account) == (11 * CREDIT, CREDIT)
    await reserve(database, account, "third", 11 * CREDIT)
    await capture(database, "third", 11 * CREDIT)
    assert await parts(database, account) == (0, 0)


@pytest.mark.parametrize("note", ["x" * 201, "a\nb", "\udcff"])
async def test_what_cannot_be_a_note_is_refused(database: Database, account: Account, note: str) -> None:
    with pytest.raises(BadRequest, match="200 printable characters"):
        await database.write(lambda connection: ledger.grant(connection, account.id, CREDIT, note=note))
    assert await left(database, account) == 10 * CREDIT


async def test_neither_kind_of_credits_is_taken_back_for_the_other(database: Database, account: Account) -> None:
    await give_free(database, account, 2 * CREDIT)
    with pytest.raises(InsufficientCredits, match="2 free credits does not cover the 3 credits"):
        await give_free(database, account, -3 * CREDIT)
    with pytest.raises(InsufficientCredits, match="10 bought credits does not cover the 11 credits"):
        await database.write(lambda connection: ledger.grant(connection, account.id, -11 * CREDIT))
    await give_free(database, account, -2 * CREDIT)
    await database.write(lambda connection: ledger.grant(connection, account.id, -10 * CREDIT))
    assert await parts(database, account) == (0, 0)


async def give_free(database: Database, account: Account, micro: int) -> None:
    await database.write(lambda connection: ledger.grant(connection, account.id, micro, free=True))


async def parts(database: Database, account: Account) -> tuple[int, int]:
    """The balance, and what of it is free."""
    await left(database, account)
    found = await Accounts(database).find(account.name)
    return found.balance_micro, found.free_micro


JOBS = st.sampled_from([f"job {number}" for number in range(6)])
AMOUNTS = st.integers(0, 6)
NUMBERS = itertools.count()


class Accounting(RuleBasedStateMachine):
    """The ledger beside a model of it: what is bought and what free, what each job holds, what each was charged."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.database = self.runner.run(open_database(self.url))
        name = f"account {next(NUMBERS)}"
        self.account = self.runner.run(Accounts(self.database).create(name))
        self.bought = self.free = 0
        self.held: dict[str, tuple[int, int]] = {}
        self.charged: dict[str, int] = {}

    @rule(amount=AMOUNTS, free=st.booleans())
    def grant(self, amount: int, free: bool) -> None:
        work = partial(ledger.grant, account_id=self.account.id, micro=amount, free=free)
        self.runner.run(self.database.write(work))
        self.free += amount if free else 0
        self.bought += 0 if free else amount

    @rule(amount=AMOUNTS, free=st.booleans())
    def take_back(self, amount: int, free: bool) -> None:
        work = partial(ledger.grant, account_id=self.account.id, micro=-amount, free=free)
        try:
            self.runner.run(self.database.write(work))
        except InsufficientCredits:
            assert amount > (self.free if free else self.bought)
        else:
            self.free -= amount if free else 0
            self.bought -= 0 if free else amount

    @rule(job=JOBS, amount=AMOUNTS)
    def reserve(self, job: str, amount: int) -> None:
        known = job in self.held or job in self.charged
        try:
            self.runner.run(reserve(self.database, self.account, self._named(job), amount))
        except InsufficientCredits:
            assert not known
            assert amount > self.free + self.bought
        else:
            if not known:
                self.held[job] = amount, min(amount, self.free)
                self.free -= self.held[job][1]
                self.bought -= amount - self.held[job][1]

    @rule(job=JOBS, share=st.sampled_from([0, 0.5, 1]))
    def capture(self, job: str, share: float) -> None:
        part = int(self.held.get(job, (0, 0))[0] * share)
        self.runner.run(capture(self.database, self._named(job), part))
        self._settle(job, part)

    @rule(job=JOBS)
    def release(self, job: str) -> None:
        self.runner.run(release(self.database, self._named(job)))
        self._settle(job, 0)

    def _settle(self, job: str, part: int) -> None:
        held, free = self.held.get(job, (0, 0))
        if held > 0:
            spent_free = min(part, free)
            self.free += free - spent_free
            self.bought += held - part - (free - spent_free)
            self.charged[job] = part
            del self.held[job]

    def _named(self, job: str) -> str:
        """Jobs of other runs are in the same database."""
        return f"{job} of {self.account.id}"

    @invariant()
    def every_credit_is_accounted_for(self) -> None:
        assert self.runner.run(parts(self.database, self.account)) == (self.free + self.bought, self.free)

    @invariant()
    def every_job_is_charged_what_was_captured(self) -> None:
        mine = ledger_entries.c.account_id == self.account.id, ledger_entries.c.kind == "capture"
        query = select(func.coalesce(func.sum(ledger_entries.c.amount_micro), 0)).where(*mine)
        captured = self.runner.run(self.database.read(lambda connection: connection.execute(query).scalar_one()))
        assert captured == sum(self.charged.values())

    @invariant()
    def the_statement_ends_with_the_balance(self) -> None:
        days = self.runner.run(self.database.read(lambda connection: statement(connection, self.account.id)))
        if days:
            assert (days[-1].balance, days[-1].balance_free) == (self.free + self.bought, self.free)
            assert days[-1].held == sum(held for held, _ in self.held.values())
            assert sum(day.charged for day in days) == sum(self.charged.values())

    def teardown(self) -> None:
        self.runner.run(self.database.close())
        self.runner.close()


def test_after_any_sequence_the_balance_is_what_the_entries_say(database_url: str) -> None:
    machine = type("Accounting", (Accounting,), {"url": database_url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=10, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
