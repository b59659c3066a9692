"""Searches for the choices and numbers with the smallest errors, or costs: nnpx tune tune=error_and_cost."""

import sys
from pathlib import Path
from typing import Final

from nnpx.arguments import Parser, take_trusted

#: the search where none is named
DEFAULT: Final = "learning_rate"
_HELP: Final = """\
usage: nnpx tune [tune=OPTION] [tune.key=value] [group=option] [key=value] …

Searches the space of conf/tune/OPTION.yaml; the other overrides hold for every trial. The same command goes on where it was left.

  --promote         write the best trial as experiment/best.yaml into your options and register its potential as candidate
  --config-dir DIR  a folder of your own options, laid out as conf/; tune/MINE.yaml in it is a search of yours
  trusted=[mypkg]   let the experiment name classes of your own package

  nnpx tune ensemble=single trainer.max_epochs=20
  nnpx tune tune=error_and_cost tune.n_trials=60 tune.n_workers=4 --promote
"""


def main(words: list[str]) -> int:
    """Reads and checks the search, then runs it.

    Raises:
        ConfigError: with all errors, before anything runs.
    """
    parser = Parser(prog="nnpx tune", add_help=False, allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("-cd", "--config-dir", type=Path)
    parser.add_argument("--promote", action="store_true")
    options = parser.parse_intermixed_args(words)
    if options.help:
        sys.stdout.write(_HELP)
        return 0
    from nnpx.configuration.targets import trust
    from nnpx.tuning.search import read_search

    trust(take_trusted(options.words))
    declared, overrides = read_search(options.words, options.config_dir, DEFAULT)
    from nnpx.tuning.run import tune

    return tune(declared, overrides, options.config_dir, Path.cwd(), promote=options.promote)
