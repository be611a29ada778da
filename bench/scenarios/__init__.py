"""The scenarios in the order in which they run, each by the name that `--only` takes."""

from collections.abc import Awaitable, Callable, Mapping

from bench.figures import Figure
from bench.scenarios import (
    deliver,
    federation_join,
    federation_send,
    history,
    initial_sync,
    inside,
    join,
    send,
    start,
    state,
    whoami,
)
from bench.subject import Subject

Scenario = Callable[[Subject], Awaitable[list[Figure]]]

SCENARIOS: Mapping[str, Scenario] = {
    "start": start.run,
    "whoami": whoami.run,
    "send-1": send.run_alone,
    "send-32": send.run_together,
    "deliver": deliver.run,
    "join": join.run,
    "state": state.run,
    "initial-sync": initial_sync.run,
    "history": history.run,
    "federation-send": federation_send.run_together,
    "federation-alone": federation_send.run_alone,
    "federation-join": federation_join.run,
    "federation-join-real": federation_join.run_real,
    "fork": inside.run_fork,
    "signatures": inside.run_signatures,
}
