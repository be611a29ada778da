"""State resolution: merging the states of several branches of a room into one.

A `Resolver` takes the entries in which the states differ, asks for what else it has to know, and is fed with it: so it
is pure, never holds a room's whole state, and runs wherever the answers are, as in a thread with a transaction open.
`drive` lets a `StateSource` answer; `resolve` is the whole for states that are in memory.

One file per part of the algorithms: `v1`, `v2` (also v2.1, which differs in two points), and what these are made of:
`auth_graph` (auth difference, conflicted state subgraph), `power_order`, `mainline`, `auth_checks`. `requests` has the
questions, `explanation` tells afterwards why an event won.

https://spec.matrix.org/v1.19/server-server-api/#room-state-resolution
"""

from matrixd.core.stateres.explanation import Candidate, Explanation, KeyExplanation, Order, Reason, Trial
from matrixd.core.stateres.in_memory import conflicts, resolve, resolve_verbosely
from matrixd.core.stateres.requests import (
    Events,
    InUnconflictedChain,
    Loaded,
    Request,
    StateKey,
    StateSource,
    UnconflictedState,
)
from matrixd.core.stateres.resolver import Resolution, Resolver, drive

__all__ = [
    "Candidate",
    "Events",
    "Explanation",
    "InUnconflictedChain",
    "KeyExplanation",
    "Loaded",
    "Order",
    "Reason",
    "Request",
    "Resolution",
    "Resolver",
    "StateKey",
    "StateSource",
    "Trial",
    "UnconflictedState",
    "conflicts",
    "drive",
    "resolve",
    "resolve_verbosely",
]
