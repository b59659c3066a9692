"""Shows, checks, compares and explains experiments: show, validate, diff, schema, explain."""

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nnpx.arguments import Parser, take_trusted
from nnpx.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig

_HELP: Final = """\
usage: nnpx config WHAT …

  show [overrides]             the composed experiment, each value with the file and line that it comes from
  validate [overrides]         every error at once; --params FILE checks a composed file
  diff A B                     how two differ; each a YAML file, 'experiment=x key=value' in quotes, or a run's id
  schema [--out DIR]           JSON Schema of conf/, so that an editor completes and checks it
  explain KEY [overrides]      what a group or key means: type, range, unit, value, options, references

  --config-dir DIR  a folder of your own options        trusted=[mypkg]  classes of your own package
"""


def main(words: list[str]) -> int:
    """Runs one of them; returns the exit code."""
    what, rest = (words[0], words[1:]) if words else ("", [])
    if not words or what in ("-h", "--help") or {"-h", "--help"} & set(rest):
        sys.stdout.write(_HELP)
        return 0 if words else 2
    if what not in _WHATS:
        from nnpx.configuration.targets import suggest

        do = suggest(what, _WHATS) or "See `nnpx config --help`."
        raise ConfigError(f"config {what}", expected=f"one of {', '.join(_WHATS)}", found=what, do=do)
    return _WHATS[what](_parse(rest, what))


def _parse(words: Sequence[str], what: str) -> Namespace:
    from nnpx.configuration.targets import trust

    parser = Parser(prog=f"nnpx config {what}", add_help=False, allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    parser.add_argument("-cd", "--config-dir", type=Path)
    if what == "validate":
        parser.add_argument("--params", type=Path)
    if what == "schema":
        parser.add_argument("--out", type=Path, default=Path(".nnpx/schema"))
    options = parser.parse_intermixed_args(list(words))
    trust(take_trusted(options.words))
    return options


def _show(options: Namespace) -> int:
    from rich.console import Console

    from nnpx.config import compose, folders_of
    from nnpx.configuration.schema import plain
    from nnpx.inspection.origins import origins
    from nnpx.inspection.show import print_tree

    config = compose(options.words, options.config_dir)
    _validate_what_is_given(config, options.config_dir)
    print_tree(plain(config), origins(options.words, options.config_dir, folders_of(options.config_dir)), Console())
    return 0


def _validate(options: Namespace) -> int:
    from nnpx.config import compose, load_params, validate

    if options.params is not None and options.config_dir is not None:
        do = "Give the overrides instead of --params."
        raise ConfigError("--params", expected="no --config-dir beside it", found="one", do=do)
    config = load_params(options.params, options.words) if options.params else compose(options.words, options.config_dir)
    validate(config, config_dir=options.config_dir)
    sys.stdout.write("the experiment is valid\n")
    return 0


def _diff(options: Namespace) -> int:
    from nnpx.config import folders_of
    from nnpx.inspection.difference import difference, experiment_of

    if len(options.words) != 2:
        do = "Put overrides in quotes: nnpx config diff 'seed=0' 'seed=1'."
        raise ConfigError("config diff", expected="two experiments", found=f"{len(options.words)} words", do=do)
    one, other = (experiment_of(word, options.config_dir) for word in options.words)
    found = difference(one, other, folders_of(options.config_dir))
    sys.stdout.write("".join(f"{line}\n" for line in found.lines()) or "no difference\n")
    return 1 if found else 0


def _schema(options: Namespace) -> int:
    from nnpx.config import folders_of
    from nnpx.inspection.json_schema import write_schemas

    _no_words(options, "schema")
    folders = folders_of(options.config_dir)
    written = write_schemas(options.out, folders)
    sys.stderr.write(f"wrote {len(written)} schemas to {options.out}; for VS Code, in .vscode/settings.json:\n")
    settings = {"yaml.schemas": {path: patterns[0] if len(patterns) == 1 else patterns for path, patterns in written.items()}}
    sys.stdout.write(json.dumps(settings, indent=2) + "\n")
    return 0


def _explain(options: Namespace) -> int:
    from nnpx.config import compose, folders_of
    from nnpx.configuration.schema import plain
    from nnpx.inspection.explain import explain, only_option
    from nnpx.inspection.origins import origins

    if not options.words:
        do = "Name a group or a key: nnpx config explain network.hidden."
        raise ConfigError("config explain", expected="a key", found="none", do=do)
    key, *overrides = options.words
    if "=" in key:  # `descriptor=acsf` means the group with this option
        overrides.append(key)
        key = key.partition("=")[0]
    folders = folders_of(options.config_dir)
    config = compose(overrides, options.config_dir)
    is_chosen = any(word.startswith(f"{key.partition('.')[0]}=") for word in overrides)
    if not is_chosen and (option := only_option(key, plain(config), folders)):
        overrides.append(option)
        config = compose(overrides, options.config_dir)
    _validate_what_is_given(config, options.config_dir)
    lines = explain(key, plain(config), origins(overrides, options.config_dir, folders), folders)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


def _validate_what_is_given(config: "DictConfig", config_dir: Path | None) -> None:
    """All errors but those of values that only the user can give, which this command may be asked about."""
    from nnpx.config import problems_of, validate
    from nnpx.configuration.schema import raise_all

    try:
        validate(config, config_dir=config_dir)
    except ConfigError as error:
        raise_all([problem for problem in problems_of(error) if problem.found != "nothing"])


def _no_words(options: Namespace, what: str) -> None:
    if options.words:
        raise ConfigError(f"config {what}", expected="no words after it", found=" ".join(options.words), do="Leave them out.")


_WHATS: Final[dict[str, Callable[[Namespace], int]]] = {
    "show": _show,
    "validate": _validate,
    "diff": _diff,
    "schema": _schema,
    "explain": _explain,
}
