"""How many transactions may be under way at once.

The limit follows what the network gives: it grows while transactions succeed and slots are short, and shrinks when
servers that answered until now stop doing so, since then the fault may be on this side. That a server is dead is
another matter (`net.reachability`): servers that fail have a share of the slots, dead ones a smaller share, so that
those which answer never wait for them.
"""

import enum

_INITIAL = 20.0
_LEAST = 4.0
_MOST = 200.0
_SHRINK = 0.9


class Standing(enum.IntEnum):
    """What is expected of a server, the best first."""

    ANSWERS = 0
    """It answered last, or has just contacted us."""
    FAILS = 1
    DEAD = 2


#: The share of the limit that servers of each standing, and of those below it, may have.
_SHARES = {Standing.ANSWERS: 1.0, Standing.FAILS: 0.5, Standing.DEAD: 0.25}


class Slots:
    """Counts what is under way."""

    def __init__(self) -> None:
        self._limit = _INITIAL
        self._taken = dict.fromkeys(Standing, 0)

    @property
    def limit(self) -> int:
        """How many may be under way now."""
        return int(self._limit)

    @property
    def taken(self) -> int:
        """How many are under way."""
        return sum(self._taken.values())

    def take(self, standing: Standing) -> bool:
        """Take a slot, if there is one."""
        for best in range(standing + 1):
            below = sum(count for other, count in self._taken.items() if other >= best)
            if below >= max(1, int(self._limit * _SHARES[Standing(best)])):
                return False
        self._taken[standing] += 1
        return True

    def give_back(self, standing: Standing) -> None:
        """The transaction is over."""
        self._taken[standing] -= 1

    def succeeded(self) -> None:
        """A transaction was taken; to be told before its slot is given back."""
        if self.taken >= 0.8 * self._limit:
            self._limit = min(_MOST, self._limit + 1 / self._limit)

    def stopped_answering(self) -> None:
        """A server that answered until now did not."""
        self._limit = max(_LEAST, self._limit * _SHRINK)
