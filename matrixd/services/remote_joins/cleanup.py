"""What is left of joins that are over."""

from matrixd.services.remote_joins.states import OVER
from matrixd.storage import remote_joins
from matrixd.storage.database import Database
from matrixd.util.clock import Clock

#: How long one can look up what became of a join, in milliseconds.
_KEPT_MS = 7 * 24 * 60 * 60 * 1000


async def drop_old(database: Database, clock: Clock) -> None:
    """Forget the joins that have been over for a week."""
    states = [state.value for state in OVER]
    await database.write(remote_joins.drop_old, states, clock.now_ms() - _KEPT_MS)
