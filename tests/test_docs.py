"""What the documentation shows is what happens: docstrings and README."""

import contextlib
import dataclasses
import doctest
import importlib
import importlib.util
import inspect
import io
import re
from collections import Counter
from pathlib import Path

import operations
import pytest
from operations import OPERATIONS, QUERIES, SETTINGS

import fastlogits

README = Path(__file__).parent.parent / "README.md"
MODULES = ["fastlogits", "fastlogits.special", "fastlogits.metrics", "fastlogits.config"]
if importlib.util.find_spec("sklearn"):
    MODULES.append("fastlogits.calibration")
if importlib.util.find_spec("matplotlib"):
    MODULES.append("fastlogits.plots")
# Called for what they do.
RETURN_NOTHING = {"set_num_threads", "set_isa", "show_config"}


def public(module):
    """(name, object) of the functions and classes that a module makes public."""
    names = getattr(module, "__all__", None)
    if names is None:
        names = [
            n for n, o in vars(module).items() if getattr(o, "__module__", "") == module.__name__
        ]
    for name in sorted(names):
        thing = getattr(module, name)
        if callable(thing) and not name.startswith("_"):
            yield name, thing


OBJECTS = {
    f"{module}.{name}": thing
    for module in MODULES
    for name, thing in public(importlib.import_module(module))
}


def sections(thing):
    """{title: body} of the underlined sections of a numpydoc docstring."""
    lines = inspect.getdoc(thing).splitlines()
    found, title = {}, ""
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if line and re.fullmatch("-+", below):
            assert len(below) == len(line), f"underline of {line!r}"
            title = line
            found[title] = []
        elif title:
            found[title].append(line)
    return found


def test_every_public_function_is_in_one_list():
    listed = Counter([*OPERATIONS, *SETTINGS, *QUERIES])
    assert listed == Counter(operations.public()), (
        "a new one goes into a list of tests/operations.py"
    )


@pytest.mark.parametrize("name", OBJECTS)
def test_docstring_is_complete(name):
    thing = OBJECTS[name]
    doc = inspect.getdoc(thing)
    assert doc, "no docstring"
    summary = doc.partition("\n\n")[0]
    assert summary.endswith("."), "the first paragraph is not a sentence"
    found = sections(thing)
    parameters = [p for p in inspect.signature(thing).parameters if p != "self"]
    if parameters:
        described = "\n".join(found.get("Parameters", []) + found.get("Attributes", []))
        for parameter in parameters:
            assert re.search(rf"(?m)^(\w+, )*\*?{parameter}(, \w+)*( : .+)?$", described), parameter
    else:
        assert "Parameters" not in found
    if not inspect.isclass(thing) and name.rpartition(".")[2] not in RETURN_NOTHING:
        assert found.get("Returns") or found.get("Yields"), "no Returns"
    if not dataclasses.is_dataclass(thing):
        assert any(">>> " in line for line in found.get("Examples", [])), "no Examples"


@pytest.mark.parametrize("name", OBJECTS)
def test_examples_of_docstrings_give_what_they_show(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = fastlogits.get_isa()
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    output = io.StringIO()
    try:
        examples = doctest.DocTestParser().get_doctest(
            inspect.getdoc(OBJECTS[name]), {}, name, None, None
        )
        runner.run(examples, out=output.write)
    finally:
        fastlogits.set_isa(before)
        fastlogits.set_num_threads(None)
    assert runner.tries > 0 or dataclasses.is_dataclass(OBJECTS[name])
    assert runner.failures == 0, output.getvalue()


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_modules_give_what_they_show(name):
    module = importlib.import_module(name)
    assert module.__doc__, "no docstring"
    output = io.StringIO()
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(
        doctest.DocTestParser().get_doctest(module.__doc__, {}, name, None, None), out=output.write
    )
    assert runner.failures == 0, output.getvalue()


FENCE = re.compile(r"(?ms)^```(\w*)\n(.*?)^```$")


def run_readme(text):
    """Run the python blocks of a text, one after another as its reader would, and return
    [(what a block printed, the block after it where the text between says "prints")]."""
    names, results = {"__name__": "readme"}, []
    blocks = list(FENCE.finditer(text))
    for block, after in zip(blocks, [*blocks[1:], None], strict=True):
        if block[1] != "python":
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block[2], "README.md", "exec"), names)
        shown = ""
        if after is not None and re.search(r"\bprints\b", text[block.end() : after.start()]):
            shown = after[2]
        results.append((printed.getvalue(), shown))
    return results


def test_examples_of_the_readme_give_what_it_shows(tmp_path, monkeypatch):
    pytest.importorskip("sklearn", minversion="1.6", reason="scikit-learn 1.6 is not installed")
    monkeypatch.chdir(tmp_path)
    before = fastlogits.get_isa()
    try:
        results = run_readme(README.read_text(encoding="utf-8"))
    finally:
        fastlogits.set_isa(before)
        fastlogits.set_num_threads(None)
    assert any(printed for printed, _ in results)
    for printed, shown in results:
        assert printed == shown


def test_readme_has_every_block_closed():
    fences = re.findall(r"(?m)^```", README.read_text(encoding="utf-8"))
    assert len(fences) % 2 == 0


def test_readme_names_the_two_commands():
    text = README.read_text(encoding="utf-8")
    assert "make demo" in text
    assert "make test" in text
