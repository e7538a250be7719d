"""``fastlogits score``."""

import argparse
from pathlib import Path

from .inputs import load
from .parsing import (
    LABEL_FILES,
    Commands,
    add_command,
    add_labels,
    add_logits,
    add_temperature,
    positive,
)
from .scoring import check_plot, fit_temperature, print_scores, score_arrays, write_plot
from .terminal import print_json

_DESCRIPTION = f"""\
Print how good the logits are, and whether their probabilities can be believed: mean negative
log-likelihood, perplexity, accuracy, top-k accuracy, Brier score, and the expected and the maximum
calibration error.

{LABEL_FILES}"""

_EXAMPLES = """\
examples:
  fastlogits score logits.npy labels.npy
  fastlogits score logits.npy labels.txt --temperature 1.5
  fastlogits score logits.npy labels.npy --calibrate --plot reliability.png
  fastlogits score validation.npz:logits validation.npz:labels --json | jq .nll
"""


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "score",
        _run,
        help="score logits against labels",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    add_logits(parser)
    add_labels(parser)
    temperature = parser.add_mutually_exclusive_group()
    add_temperature(temperature)
    temperature.add_argument(
        "--calibrate",
        action="store_true",
        help="fit the temperature to these rows, and score before and after",
    )
    parser.add_argument(
        "--bins",
        type=positive,
        default=15,
        metavar="N",
        help="bins of confidence, for the calibration errors and the picture (default: 15)",
    )
    parser.add_argument(
        "--top-k",
        type=positive,
        default=5,
        metavar="K",
        help="a row counts in the top-k accuracy if its class is among the K best (default: 5)",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print JSON, with the bins; a figure that is not finite is null",
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="draw accuracy over confidence"
    )


def _run(arguments: argparse.Namespace) -> int:
    if arguments.plot:
        check_plot(arguments.plot)
    x, y = load(arguments.logits), load(arguments.labels, text=True)
    temperatures = [arguments.temperature]
    if arguments.calibrate:
        temperatures.append(fit_temperature(x, y))
    scored = [
        (t, score_arrays(x, y, temperature=t, k=arguments.top_k, n_bins=arguments.bins))
        for t in temperatures
    ]
    if arguments.json:
        first, *rest = ({"temperature": t, **scores.as_dict()} for t, scores in scored)
        print_json(rest[0] | {"before": first} if rest else first)
    else:
        print_scores(scored)
    if arguments.plot:
        write_plot(arguments.plot, scored)
    return 0
