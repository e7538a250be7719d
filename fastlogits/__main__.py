"""``python -m fastlogits`` is the ``fastlogits`` command."""

import sys

from fastlogits.cli import main

sys.exit(main())
