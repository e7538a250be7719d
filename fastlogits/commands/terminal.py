"""What a command prints: tables and a progress bar on a terminal, plain lines anywhere else."""

import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any


def print_table(rows: Sequence[Sequence[str]], *, header: Sequence[str] = ()) -> None:
    """Print rows of cells, of which the first is what the others are about."""
    if sys.stdout.isatty() and _has_rich():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(show_header=bool(header))
        for title in header or [""] * len(rows[0]):
            table.add_column(Text(title))
        for row in rows:
            table.add_row(*map(Text, row))
        console = Console()
        # On a narrower terminal words and figures would lose their ends.
        unbroken = console.measure(table, options=console.options.update_width(1000)).minimum
        if unbroken <= console.width:
            console.print(table)
            return
    lines = [header, *rows] if header else rows
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (f"{cell:{width}}" for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())


def print_json(values: dict[str, Any]) -> None:
    """Print JSON, in which a figure that is not finite is null."""
    print(to_json(values))


def to_json(values: dict[str, Any]) -> str:
    """Return JSON, in which a figure that is not finite is null."""
    return json.dumps(_finite(values), indent=2)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(v) for name, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def progress_bar(doing: str) -> Iterator[Callable[[int, int], object] | None]:
    """Show a bar, that moves where what is yielded is called with the work done and all of it."""
    if not (sys.stderr.isatty() and _has_rich()):
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _has_rich() -> bool:
    try:
        import rich  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True
