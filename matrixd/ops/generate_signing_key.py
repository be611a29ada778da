"""`generate_signing_key [-o FILE]`: makes a signing key."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from matrixd.config.generate import signing_key_line, write_signing_key
from matrixd.util.exit_codes import Exit


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code. A file that exists is never overwritten."""
    parser = argparse.ArgumentParser("generate_signing_key", description="Makes a key that a server signs with.")
    parser.add_argument("-o", "--output_file", "--output-file", metavar="FILE", help="the new file (standard output)")
    output: str | None = parser.parse_args(arguments).output_file
    if output in (None, "-"):
        print(signing_key_line(), end="")
        return Exit.OK
    try:
        made = write_signing_key(Path(str(output)))
    except OSError as error:
        print(f"Cannot write {output}: {error.strerror}", file=sys.stderr)
        return Exit.FAILED
    if not made:
        print(f"{output} is there already and was left as it is.", file=sys.stderr)
        return Exit.FAILED
    return Exit.OK


if __name__ == "__main__":
    sys.exit(main())
