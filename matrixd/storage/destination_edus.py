"""EDUs that must reach other servers: one row for each server that is to get one."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from matrixd.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class StoredEdu:
    """An EDU that waits for a server."""

    nid: int
    type: str
    #: The content as canonical JSON.
    json: str


def insert(tx: Transaction, destinations: Sequence[str], edu_type: str, json: str) -> None:
    """Store an EDU for some servers; to be called on the writer."""
    nid = tx.next_id("destination_edus", len(destinations))
    tx.insert_many(
        "destination_edus",
        ("destination", "nid", "type", "json"),
        [(destination, nid + offset, edu_type, json) for offset, destination in enumerate(destinations)],
    )


def first(tx: Transaction, destination: str, limit: int) -> list[StoredEdu]:
    """The oldest EDUs that wait for a server, in order."""
    rows = tx.all(
        "SELECT nid, type, json FROM destination_edus WHERE destination = ? ORDER BY nid LIMIT ?", (destination, limit)
    )
    return [StoredEdu(*row) for row in rows]


def delete(tx: Transaction, destination: str, up_to: int) -> None:
    """Remove what a server has taken: everything up to and with a number."""
    tx.execute("DELETE FROM destination_edus WHERE destination = ? AND nid <= ?", (destination, up_to))


def waiting(tx: Transaction) -> dict[str, int]:
    """How many wait, by server."""
    return dict(tx.all("SELECT destination, COUNT(*) FROM destination_edus GROUP BY destination"))


def destinations(tx: Transaction) -> list[str]:
    """The servers for which something waits."""
    return [row[0] for row in tx.all("SELECT DISTINCT destination FROM destination_edus ORDER BY destination")]


def delete_oldest(tx: Transaction, destination: str, edu_types: Collection[str] | None, count: int) -> int:
    """Remove at most `count` EDUs of some types, or of any, the oldest first; how many there were."""
    condition, parameters = "", []
    if edu_types is not None:
        among, parameter = tx.among("type", sorted(edu_types))
        condition, parameters = f" AND {among}", [parameter]
    return tx.execute(
        "DELETE FROM destination_edus WHERE destination = ? AND nid IN ("
        f"SELECT nid FROM destination_edus WHERE destination = ?{condition} ORDER BY nid LIMIT ?)",
        (destination, destination, *parameters, count),
    )


def delete_all(tx: Transaction, destination: str) -> int:
    """Remove all that waits for a server; how many there were."""
    return tx.execute("DELETE FROM destination_edus WHERE destination = ?", (destination,))
