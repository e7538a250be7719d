"""Time fastlogits beside its peers: `fastlogits bench`, and with --check a gate.

Run: python benchmarks/compare.py [--shape 8192x1000] [--threads 1 2] [--isa avx2] [--check]
"""

import sys

from fastlogits.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", *sys.argv[1:]]))
