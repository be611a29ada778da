"""Every option does something, or is told as one that does not yet."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Iterator
from pathlib import Path

from matrixd.config.load import Config, known_options
from matrixd.config.not_yet import FOR_OLD_FILES, NOT_YET

from .conftest import Loader

REPOSITORY = Path(__file__).parents[3]
SOURCE = "\n".join(
    file.read_text(encoding="utf-8")
    for file in sorted((REPOSITORY / "matrixd").rglob("*.py"))
    if (REPOSITORY / "matrixd/config") not in file.parents
)
# What a section is called where it is used, other than by its own name.
CALLED = {
    "": ("config",),
    "listeners": ("listener",),
    "database": ("settings",),
    "registration": ("rules",),
    "sessions": ("lifetimes",),
    "ratelimits": ("limits",),
    "ratelimits.federation": ("limits",),
    "keys.old_signing_keys": ("old",),
    "keys.trusted_key_servers": ("server",),
    "federation.addresses": ("rules",),
    "rooms": ("config",),
    "rooms.alias_creation_rules": ("rule",),
    "rooms.room_list_publication_rules": ("rule",),
}
# The parts of a limit: it is the whole that is used.
PLAIN = ("per_second", "burst_count")
# `type` decides which resources a listener has; `paths` is for whoever wants to say what was read.
WITHIN_CONFIG = frozenset({"listeners.type", "paths"})


def fields(section: type, path: str = "") -> Iterator[tuple[str, str]]:
    """The path of the section and the name of each field, of the sections below too."""
    for name, hint in typing.get_type_hints(section).items():
        if name in PLAIN:
            continue
        yield path, name
        for part in (hint, *typing.get_args(hint)):
            if isinstance(part, type) and dataclasses.is_dataclass(part):
                yield from fields(part, f"{path}.{name}".lstrip("."))


def is_listed(path: str, name: str) -> bool:
    whole = f"{path}.{name}".lstrip(".")
    return any(whole == field or whole.startswith(f"{field}.") for field in (*NOT_YET, *FOR_OLD_FILES, *WITHIN_CONFIG))


def is_used(path: str, name: str) -> bool:
    """Whether something outside the package reads the field from what its section is called."""
    owners = {path.rpartition(".")[2], *CALLED.get(path, ())} - {""}
    return any(re.search(rf"\b_?{re.escape(owner)}\.{name}\b", SOURCE) for owner in owners)


def test_every_field_is_used_or_said_not_to_be() -> None:
    found = [(path, name) for path, name in fields(Config) if not is_listed(path, name)]
    assert len(found) > 80
    assert [f"{path}.{name}" for path, name in found if not is_used(path, name)] == []


def test_what_is_used_is_not_said_to_be_unused() -> None:
    listed = [*NOT_YET, *FOR_OLD_FILES]
    assert [field for field in listed if is_used(*field.rpartition(".")[::2])] == []


def test_the_fields_and_options_exist() -> None:
    known = {f"{path}.{name}".lstrip(".") for path, name in fields(Config)}
    assert {*NOT_YET, *FOR_OLD_FILES} <= known
    assert {name for names in NOT_YET.values() for name in names} <= known_options()


def test_the_manual_marks_them() -> None:
    manual = (REPOSITORY / "docs/configuration.md").read_text(encoding="utf-8")
    marked = set(re.findall(r"`(\w+)`\*(?!\*)", manual))
    assert marked == {name.rpartition(".")[2] for names in NOT_YET.values() for name in names}


def test_those_that_are_set_are_told_together(load_text: Loader) -> None:
    config = load_text(
        "enable_media_repo: true\nrc_joins: {local: {per_second: 1}}\nrc_reports: {per_second: 1}\n"
        "rc_media_create: null\n"
    )
    assert config.warnings == (
        "Options that are read and checked, but that nothing in this version uses yet: rc_reports, enable_media_repo",
    )
    (warning,) = load_text("rc_user_directory: {per_second: 1}\n").warnings
    assert warning.endswith(": rc_user_directory")
