"""`hash_password [-c CONFIG] [-p PASSWORD]`: a password's hash, as the database has it."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from matrixd.config import ConfigError, load
from matrixd.ops import asking
from matrixd.util import passwords
from matrixd.util.exit_codes import Exit

DEFAULT_ROUNDS = 12


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser("hash_password", description="Prints the hash of a password.")
    parser.add_argument("-c", "--config", action="append", default=[], help="take rounds and pepper from there")
    parser.add_argument("-p", "--password", help="the password; asked for if left out (others may see arguments)")
    options = parser.parse_args(arguments)
    try:
        rounds, pepper = _settings([Path(path) for path in options.config])
        print(passwords.hash_password(asking.password(options.password, None), rounds, pepper))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return Exit.CONFIG
    except asking.Refused as error:
        print(error, file=sys.stderr)
        return Exit.FAILED
    return Exit.OK


def _settings(paths: list[Path]) -> tuple[int, str]:
    if not paths:
        return DEFAULT_ROUNDS, ""
    config = load(paths, read_files=False)
    return config.passwords.bcrypt_rounds, config.passwords.pepper


if __name__ == "__main__":
    sys.exit(main())
