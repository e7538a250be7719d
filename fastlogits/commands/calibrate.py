"""``fastlogits calibrate``."""

import argparse
from pathlib import Path

from .inputs import load
from .outputs import check_output, whole_file
from .parsing import LABEL_FILES, Commands, add_command, add_labels, add_logits
from .scoring import fit_temperature, print_scores, score_arrays
from .terminal import to_json

_DESCRIPTION = f"""\
Find the temperature that makes probabilities believable: the one with the smallest negative
log-likelihood on these rows, which should be none that the model was trained on. Dividing the
logits by it changes no prediction. Printed are the scores before and after.

{LABEL_FILES}"""

_EXAMPLES = """\
examples:
  fastlogits calibrate validation.npy labels.npy -o temperature.json
  fastlogits softmax test.npy -o probabilities.npy --temperature temperature.json
"""


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "calibrate",
        _run,
        help="find the temperature that makes probabilities believable",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    add_logits(parser)
    add_labels(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE.json",
        help="write the temperature, for --temperature of the other commands",
    )


def _run(arguments: argparse.Namespace) -> int:
    if arguments.output:
        check_output(arguments.output, ".json")
    x, y = load(arguments.logits), load(arguments.labels, text=True)
    temperature = fit_temperature(x, y)
    before, after = (score_arrays(x, y, temperature=t) for t in (1.0, temperature))
    print_scores([(1.0, before), (temperature, after)])
    if arguments.output:
        found = {
            "temperature": temperature,
            "n": after.n,
            "n_classes": after.n_classes,
            "nll_before": before.nll,
            "nll": after.nll,
        }
        with whole_file(arguments.output) as file:
            file.write(f"{to_json(found)}\n".encode())
    return 0
