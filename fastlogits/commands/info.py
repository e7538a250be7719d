"""``fastlogits info``."""

import argparse

from fastlogits.config import config_dict

from .parsing import Commands, add_command
from .terminal import print_json, print_table

_EXAMPLES = """\
examples:
  fastlogits info
  fastlogits info --json | jq -r .isa
"""


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "info",
        _run,
        help="print versions, compiler, instruction sets and threads",
        description="Print what a bug report needs: versions, compiler, instruction sets, threads.",
        examples=_EXAMPLES,
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _run(arguments: argparse.Namespace) -> int:
    config = config_dict()
    if arguments.json:
        print_json(config)
    else:
        print_table([(name.replace("_", " "), _plain(value)) for name, value in config.items()])
    return 0


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value))
    return str(value)
