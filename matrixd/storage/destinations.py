"""Other servers as receivers: how far what they must have was delivered, and how they answered last."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from matrixd.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Reach:
    """How another server answered lately. Times are milliseconds since the epoch."""

    destination: str
    #: Failures in a row; 0 when it answered last.
    failures: int = 0
    #: When the first of them was.
    since_ts: int | None = None
    last_try_ts: int | None = None
    #: Not before this it is tried again.
    next_try_ts: int = 0
    #: A `FailureKind`'s value, and a sentence; of the last failure, also after a success.
    error_kind: str | None = None
    error: str | None = None
    last_success_ts: int | None = None
    #: It says that it is gone for good.
    retired: bool = False


@dataclass(frozen=True, slots=True)
class Behind:
    """A server that lacks events: everything up to `acked_pos` was delivered, or superseded by what was."""

    destination: str
    acked_pos: int


_REACH = (
    "destination", "failures", "since_ts", "last_try_ts", "next_try_ts", "error_kind", "error", "last_success_ts",
    "retired",
)


def set_reach(tx: Transaction, reaches: Sequence[Reach]) -> None:
    """Store how servers answered; what is delivered to them stays."""
    tx.insert_many(
        "destinations",
        _REACH,
        [
            (
                r.destination, r.failures, r.since_ts, r.last_try_ts, r.next_try_ts, r.error_kind, r.error,
                r.last_success_ts, int(r.retired),
            )
            for r in reaches
        ],
        f"ON CONFLICT (destination) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _REACH[1:])}",
    )


def failing(tx: Transaction) -> list[Reach]:
    """The servers that did not answer last, the most recently tried last."""
    rows = tx.all(f"SELECT {', '.join(_REACH)} FROM destinations WHERE failures > 0 ORDER BY last_try_ts")
    return [_reach(row) for row in rows]


def _reach(row: tuple[Any, ...]) -> Reach:
    destination, failures, since_ts, last_try_ts, next_try_ts, error_kind, error, last_success_ts, retired = row
    return Reach(
        destination, failures, since_ts, last_try_ts, next_try_ts, error_kind, error, last_success_ts, bool(retired)
    )


def set_behind(tx: Transaction, behind: Sequence[Behind]) -> None:
    """Store of servers that they lack events, and since which position."""
    tx.insert_many(
        "destinations",
        ("destination", "acked_pos"),
        [(item.destination, item.acked_pos) for item in behind],
        "ON CONFLICT (destination) DO UPDATE SET acked_pos = excluded.acked_pos",
    )


def set_level(tx: Transaction, names: Collection[str]) -> None:
    """Store of servers that they lack nothing up to the floor."""
    if names:
        condition, parameter = tx.among("destination", sorted(names))
        tx.execute(f"UPDATE destinations SET acked_pos = NULL WHERE {condition}", (parameter,))


def behind(tx: Transaction) -> list[Behind]:
    """The servers that lack events."""
    rows = tx.all("SELECT destination, acked_pos FROM destinations WHERE acked_pos IS NOT NULL ORDER BY destination")
    return [Behind(*row) for row in rows]


def every(tx: Transaction) -> list[tuple[Reach, int | None]]:
    """All servers of which something is stored, with the position up to which they have everything, by name."""
    rows = tx.all(f"SELECT {', '.join(_REACH)}, acked_pos FROM destinations ORDER BY destination")
    return [(_reach(row[:-1]), row[-1]) for row in rows]


def failing_since_before(tx: Transaction, ts: int) -> list[str]:
    """The servers that have not answered since before a time, in milliseconds since the epoch."""
    rows = tx.all("SELECT destination FROM destinations WHERE failures > 0 AND since_ts < ?", (ts,))
    return [row[0] for row in rows]


def delete_unused(tx: Transaction, before_ts: int) -> None:
    """Remove the rows that say nothing any more.

    They are of servers that lack nothing and answered, or were tried last, before `before_ts`; or that have not
    answered since then and share no room with us.
    """
    tx.execute(
        "DELETE FROM destinations WHERE (acked_pos IS NULL AND COALESCE(last_try_ts, last_success_ts, 0) < ?)"
        " OR (failures > 0 AND since_ts < ?"
        " AND NOT EXISTS (SELECT 1 FROM room_servers s WHERE s.server_name = destinations.destination))",
        (before_ts, before_ts),
    )


def everybody_has(tx: Transaction, given_up_ts: int) -> int:
    """Up to this position every server has everything, but for those that failed since before `given_up_ts`."""
    row = tx.one(
        "SELECT MIN(acked_pos) FROM destinations WHERE acked_pos IS NOT NULL"
        " AND NOT (failures > 0 AND since_ts < ?)",
        (given_up_ts,),
    )
    lowest = floor(tx) or 0
    return lowest if row is None or row[0] is None else min(lowest, int(row[0]))


def floor(tx: Transaction) -> int | None:
    """Up to this position of the events stream every server that is not behind has everything; None before any."""
    row = tx.one("SELECT pos FROM delivery_floor")
    return None if row is None else int(row[0])


def set_floor(tx: Transaction, pos: int) -> None:
    """Store the floor."""
    tx.execute(
        "INSERT INTO delivery_floor (singleton, pos) VALUES (1, ?)"
        " ON CONFLICT (singleton) DO UPDATE SET pos = excluded.pos",
        (pos,),
    )
