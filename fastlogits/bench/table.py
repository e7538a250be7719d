"""The figures on standard output: lines in a pipe, tables on a terminal."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO

from . import targets
from .libraries import OWN
from .run import Record


def verdict(record: Record) -> str | None:
    """What became of the record's target, if it has one."""
    return targets.verdict(record["ratio"], record["target"], record["limit"])


def missed(record: Record) -> bool:
    """Whether the record has a target and missed it."""
    return verdict(record) == targets.MISSED


def line(record: Record) -> str:
    """One record."""
    low, high = record["ratio_quartiles"]
    return (
        f"{record['operation']:36}{record['shape']:>16}  {record['dtype']:8} {record['isa']:9}"
        f"{record['threads']} thr  {record['library']:14}{record['ns_per_element']:9.3f} ns  "
        f"{record['ratio']:7.2f} x {record['to']} [{low:.2f}, {high:.2f}]{_aim(record, '  ')}"
    )


def _aim(record: Record, before: str = "") -> str:
    words = [f"{k} {record[k]:.3g}" for k in ("target", "limit") if record[k] is not None]
    if not words:
        return ""
    endings = {
        targets.MET: "",
        targets.AT_LIMIT: f": {targets.AT_LIMIT}",
        targets.MISSED: " MISSED",
    }
    found = verdict(record)
    return f"{before}{', '.join(words)}{endings[found] if found else ''}"


def follow(measured: Iterable[list[Record]], out: TextIO | None) -> Iterator[Record]:
    """Yield the records while they are printed to `out` as plain lines."""
    for records in measured:
        for record in records:
            if out is not None:
                print(line(record), file=out, flush=True)
            yield record


def follow_on_terminal(
    measured: Iterable[list[Record]], total: int, *, tables: bool
) -> Iterator[Record]:
    """Yield the records behind a progress bar, and print a table of each case."""
    from rich.console import Console
    from rich.progress import Progress

    # Where standard output is for JSON alone, the bar is on standard error.
    with Progress(console=Console(stderr=not tables), transient=True) as progress:
        task = progress.add_task("measuring", total=total)
        for records in measured:
            progress.advance(task)
            if tables:
                progress.console.print(_table(records), "")
            yield from records


def _table(records: Sequence[Record]) -> Any:
    from rich.table import Table
    from rich.text import Text

    first = records[0]
    names = [first[name] for name in ("operation", "shape", "dtype", "isa")]
    title = ", ".join([*names, count(first["threads"], "thread")])
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("")
    for name in ("ns per element", f"x {first['to']}", "quartiles"):
        table.add_column(name, justify="right")
    aims = any(map(_aim, records))
    if aims:
        table.add_column("")
    for record in records:
        low, high = record["ratio_quartiles"]
        cells = [
            record["library"],
            f"{record['ns_per_element']:.3f}",
            f"{record['ratio']:.2f}",
            f"{low:.2f} to {high:.2f}",
            *([_aim(record)] if aims else []),
        ]
        style = "bold red" if missed(record) else "bold" if record["library"] == OWN else ""
        table.add_row(*map(Text, cells), style=style)
    return table


def summary(records: Iterable[Record]) -> list[str]:
    """How the libraries compare over all cases."""
    by_case: dict[tuple[Any, ...], dict[str, float]] = defaultdict(dict)
    for record in records:
        key = tuple(record[k] for k in ("operation", "shape", "dtype", "isa", "threads"))
        if record["library"] != record["to"]:
            by_case[key][record["library"]] = record["ratio"]
    logs: dict[str, list[float]] = defaultdict(list)
    behind = []
    for key, ratios in by_case.items():
        for library, ratio in ratios.items():
            if library != OWN:
                logs[library].append(math.log(ratio / ratios[OWN]))
        if min(ratios, key=lambda name: ratios[name]) != OWN:
            behind.append(f"{key[0]} {key[1]}")
    lines = [
        f"{library}: {math.exp(sum(values) / len(values)):.2f} times as long as fastlogits, "
        f"in the geometric mean of {len(values)} cases"
        for library, values in logs.items()
    ]
    if behind:
        lines.append(f"another library is faster in {len(behind)}: {', '.join(behind)}")
    return lines


def heading(machine: dict[str, Any]) -> str:
    """What the figures were taken on, in a line."""
    versions = dict(machine["versions"])
    if "PyTorch" in versions:
        versions.pop("torch.compile", None)  # It is a part of it.
    parts = [
        f"{machine['cpu']}, {count(machine['cores'], 'core')}",
        " and ".join(machine["isas"]),
        " and ".join(count(n, "thread") for n in machine["threads"]),
        ", ".join(f"{name} {version}" for name, version in versions.items()),
    ]
    return "; ".join(parts)


def count(number: int, noun: str) -> str:
    """1 thread, 2 threads."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
