"""Makes the newest trained potential the champion if the rule in conf/promotion holds: nnpx promote [NAME|RUN]."""

import sys
from pathlib import Path
from typing import Any, Final

from nnpx.arguments import Parser, take_trusted

HELP: Final = """\
usage: nnpx promote [NAME|RUN] [promotion=lower_error] [promotion.factor=0.95]

Moves the alias champion of a registered potential to its candidate, or to the potential of a run, if the rule holds. Exits with 1 if not.

  --config-dir DIR  a folder of your own options, laid out as conf/; promotion/MINE.yaml in it is a rule of yours
  trusted=[mypkg]   let the rule be a class of your own package
"""


def main(words: list[str]) -> int:
    """Says why or why not, with the numbers.

    Raises:
        ConfigError: the rule, the name or the run is not valid.
    """
    parser = Parser(prog="nnpx promote", add_help=False, allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("-cd", "--config-dir", type=Path)
    options = parser.parse_intermixed_args(words)
    if options.help:
        sys.stdout.write(HELP)
        return 0
    from nnpx.registry import Registry
    from nnpx.runs import project_tracker

    rule = _rule(options.words, options.config_dir)
    tracker = project_tracker(Path.cwd())
    registry = Registry(tracker.store)
    candidate = _candidate(tracker, registry, [word for word in options.words if "=" not in word])
    champion = registry.holder(candidate.name, "champion")
    title = f"promote: {candidate.name} version {candidate.version}"
    if champion is not None and str(champion.version) == str(candidate.version):
        sys.stdout.write(f"{title} is the champion already\n")
        return 0
    verdict = rule.judge(_measured(tracker, candidate), None if champion is None else _measured(tracker, champion))
    if verdict.holds:
        registry.move(candidate, "champion")
    told = "is the champion now" if verdict.holds else "does not become champion"
    sys.stdout.write("\n".join([f"{title} {told}", *(f"  {reason}" for reason in verdict.reasons), ""]))
    return 0 if verdict.holds else 1


def _rule(words: list[str], config_dir: Path | None) -> Any:
    """The rule that the overrides among the words describe."""
    from nnpx.config import compose, instantiate, trust

    trust(take_trusted(words))
    overrides = [f"+{word}" if word.startswith("promotion=") else word for word in words if "=" in word]
    chosen = overrides if any(word.startswith("+promotion=") for word in overrides) else ["+promotion=lower_error", *overrides]
    return instantiate(compose(chosen, config_dir).promotion)


def _candidate(tracker: Any, registry: Any, named: list[str]) -> Any:
    """The version that a name or a run stands for; without a word, that of the only or the composed experiment."""
    from nnpx.config import load_params
    from nnpx.errors import ConfigError
    from nnpx.runs import find_run

    known = registry.names()
    params = Path("params.yaml")
    if not named:
        if not known:
            raise ConfigError("promote", expected="a registered potential", found="none", do="Train one first: `nnpx train`.")
        usual = [str(load_params(params).name)] if params.is_file() else known
        named = usual if len(known) != 1 else known
    if len(named) != 1:
        raise ConfigError("promote", expected="one name or run", found=", ".join(named) or "none", do=f"Choose one of {', '.join(known)}.")
    word = named[0]
    if word in known or "@" in word or word.startswith("models:/"):
        return registry.version(f"{word}@candidate" if word in known else word)
    return registry.of_run(find_run(tracker, word).info.run_id)


def _measured(tracker: Any, version: Any) -> Any:
    from nnpx.promotion import Measured
    from nnpx.runs import run_of

    data = run_of(tracker, version.run_id).data
    return Measured(f"version {version.version}", dict(data.metrics), data.tags.get("test_md5", ""))
