"""The profile fields of local users (client-server API, "Profiles").

A value is kept as JSON text; a field that has none is not there.
"""

from matrixd.storage.transaction import Transaction


def get(tx: Transaction, user_nid: int) -> dict[str, str]:
    """All fields of a user: name -> JSON text."""
    return dict(tx.all("SELECT field, value FROM profiles WHERE user_nid = ?", (user_nid,)))


def get_field(tx: Transaction, user_nid: int, field: str) -> str | None:
    """One field's JSON text; None if it is not set."""
    row = tx.one("SELECT value FROM profiles WHERE user_nid = ? AND field = ?", (user_nid, field))
    return None if row is None else row[0]


def get_many(tx: Transaction, user_nids: list[int], fields: tuple[str, ...]) -> dict[int, dict[str, str]]:
    """The named fields of several users: user nid -> name -> JSON text; users who have none are left out."""
    users, users_value = tx.among("user_nid", user_nids)
    names, names_value = tx.among("field", fields)
    found: dict[int, dict[str, str]] = {}
    for user_nid, field, value in tx.all(
        f"SELECT user_nid, field, value FROM profiles WHERE {users} AND {names}", (users_value, names_value)
    ):
        found.setdefault(user_nid, {})[field] = value
    return found


def set_field(tx: Transaction, user_nid: int, field: str, value_json: str) -> None:
    """Set one field to a JSON text."""
    tx.execute(
        "INSERT INTO profiles (user_nid, field, value) VALUES (?, ?, ?)"
        " ON CONFLICT (user_nid, field) DO UPDATE SET value = excluded.value",
        (user_nid, field, value_json),
    )


def delete_field(tx: Transaction, user_nid: int, field: str) -> bool:
    """Remove one field; whether it was there."""
    return tx.execute("DELETE FROM profiles WHERE user_nid = ? AND field = ?", (user_nid, field)) > 0


def delete_all(tx: Transaction, user_nid: int) -> None:
    """Remove the whole profile, as deactivation with erasure does."""
    tx.execute("DELETE FROM profiles WHERE user_nid = ?", (user_nid,))


def await_update(tx: Transaction, user_nid: int) -> None:
    """Note that the user's room member events must show the new profile."""
    tx.execute("INSERT INTO profile_updates (user_nid) VALUES (?) ON CONFLICT (user_nid) DO NOTHING", (user_nid,))


def awaiting_update(tx: Transaction) -> list[tuple[int, str]]:
    """The users whose room member events do not show their new profile yet: (number, user ID)."""
    rows = tx.all("SELECT p.user_nid, u.user_id FROM profile_updates p JOIN users u ON u.user_nid = p.user_nid")
    return [(row[0], row[1]) for row in rows]


def updated(tx: Transaction, user_nid: int) -> None:
    """Note that the user's room member events show the new profile."""
    tx.execute("DELETE FROM profile_updates WHERE user_nid = ?", (user_nid,))
