"""A server's one writer: transactions in the order in which they come, as many in one commit as wait for it.

A transaction that fails is undone by itself; the others of its commit stay. On SQLite a commit waits for no disk
(`flusher`): what a power cut loses of the last moment is lost whole, a job with its reservation and its charge. On
PostgreSQL it waits as that server's settings say; of what was committed a power cut loses pictures alone.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, PendingRollbackError

Work = Callable[[Connection], Any]

AT_ONCE: Final = 64
"""Transactions of one commit, at most."""


@dataclass(frozen=True, slots=True)
class _Transaction:
    work: Work
    outcome: Future[Any] = field(default_factory=Future)

    def is_wanted(self) -> bool:
        """False where whoever asked for it went away before it began; to be asked once."""
        return self.outcome.set_running_or_notify_cancel()

    def fail(self, error: BaseException) -> None:
        """Unless that is over."""
        if not self.outcome.done() and (self.outcome.running() or self.is_wanted()):
            self.outcome.set_exception(error)


class Writer:
    """Writes through `engine`, in a thread of its own, until it is closed; `committed` is told of every commit."""

    def __init__(self, engine: Engine, committed: Callable[[], None]) -> None:
        self._engine = engine
        self._committed = committed
        self._waiting: queue.SimpleQueue[_Transaction | None] = queue.SimpleQueue()
        self._closing, self._is_closed = threading.Lock(), False
        self._thread = threading.Thread(target=self._write, daemon=True, name="database-writer")
        self._thread.start()

    def submit(self, work: Work) -> Future[Any]:
        """What `work` returns, once it is committed; what it raises, once it is undone. RuntimeError after the end."""
        transaction = _Transaction(work)
        with self._closing:
            if self._is_closed:
                raise RuntimeError("the database is closed")
            self._waiting.put(transaction)
        return transaction.outcome

    def close(self) -> None:
        """Returns when everything submitted so far is committed."""
        with self._closing:
            self._is_closed = True
            self._waiting.put(None)
        self._thread.join()

    def _write(self) -> None:
        while (first := self._waiting.get()) is not None:
            self._commit(first)

    def _commit(self, first: _Transaction) -> None:
        """It, and those that wait behind it."""
        taken: list[_Transaction] = []
        done: list[tuple[Future[Any], Any]] = []
        try:
            with self._engine.begin() as connection:
                for transaction in self._gathered(first):
                    taken.append(transaction)
                    if transaction.is_wanted():
                        done += _attempted(transaction, connection)
        except BaseException as error:  # the thread must live on
            # Those that wait would each wait as long for the same.
            for transaction in (*(taken or [first]), *self._gathered()):
                transaction.fail(error)
            return
        if done:
            self._committed()
        for outcome, result in done:
            outcome.set_result(result)

    def _gathered(self, *first: _Transaction) -> Iterator[_Transaction]:
        yield from first
        for _ in range(AT_ONCE - 1):
            try:
                following = self._waiting.get_nowait()
            except queue.Empty:
                return
            if following is None:
                self._waiting.put(None)
                return
            yield following


def _attempted(transaction: _Transaction, connection: Connection) -> list[tuple[Future[Any], Any]]:
    """What it returned, if it did not fail."""
    connection.exec_driver_sql("SAVEPOINT attempt")
    try:
        result = transaction.work(connection)
    except BaseException as error:  # of whatever kind: whoever asked has to hear it
        _undo(connection, error)
        transaction.outcome.set_exception(error)
        return []
    connection.exec_driver_sql("RELEASE attempt")
    return [(transaction.outcome, result)]


def _undo(connection: Connection, error: BaseException) -> None:
    """Raises what the database said where all of the commit is undone already: a disk is full, a connection lost."""
    try:
        connection.exec_driver_sql("ROLLBACK TO attempt")
        connection.exec_driver_sql("RELEASE attempt")
    except (DBAPIError, PendingRollbackError) as undone:
        raise (error if isinstance(error, DBAPIError) else undone) from None
