"""The example in the README prints what the README says."""

import contextlib
import io
import re
from pathlib import Path


def test_example():
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    code, output = re.search(r"```python\n(.*?)```\s+prints\s+```\n(.*?)```", text, re.S).groups()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    assert printed.getvalue() == output
