"""``fastlogits bench``."""

import argparse

from fastlogits.bench import options

from .parsing import Commands, add_command


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "bench",
        _run,
        help="time fastlogits beside other libraries",
        description=options.DESCRIPTION,
        examples=options.EXAMPLES,
    )
    options.add_options(parser)


def _run(arguments: argparse.Namespace) -> int:
    from fastlogits.bench.command import run

    return run(arguments)
