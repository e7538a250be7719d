"""What the figures were taken on."""

import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

from fastlogits.config import config_dict

from .libraries import LIBRARIES


def describe(
    libraries: Iterable[str], isas: Iterable[str], threads: Iterable[int]
) -> dict[str, object]:
    """The machine, how it is used, and the versions of the libraries."""
    config = config_dict()
    return {
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "platform": config["platform"],
        "python": config["python"],
        "compiler": config["compiler"],
        "isas_available": config["isas_available"],
        "isas": list(dict.fromkeys(isas)),
        "threads": list(dict.fromkeys(threads)),
        "versions": {name: LIBRARIES[name].version() for name in libraries},
    }


def usable_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_model() -> str:
    """The name that the processor gives itself, as far as the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    try:
        asked = subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=True
        )
        return asked.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return platform.processor() or platform.machine()
