"""Chooses the symmetry functions that are worth computing on the training data, and writes them as an option of `descriptor`."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nnpx.arguments import Parser, take_trusted
from nnpx.errors import ConfigError

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from omegaconf import DictConfig
    from torch import Tensor

#: the selection where none is named
DEFAULT: Final = "cur"
_HELP: Final = """\
usage: nnpx select NAME [selection=OPTION] [selection.n_selected=64] [group=option] [key=value] …

Evaluates the descriptor of the experiment on its training set, chooses among its functions, and writes conf/descriptor/NAME.yaml with those
that are kept. The data are labelled and prepared first where they are not yet. Train with `nnpx train descriptor=NAME`, and with the same
`cutoff`, `radial` and `species_embedding`; in a folder that is not the checkout of nnpx with `--config-dir conf` as well.

  --config-dir DIR  a folder of your own options, laid out as conf/: NAME.yaml goes there; selection/MINE.yaml in it is a selection of yours
  trusted=[mypkg]   let the experiment name classes of your own package

  nnpx select acsf_64
  nnpx select acsf_pool_32 descriptor=acsf_pool selection=farthest_point selection.n_selected=32
"""


def main(words: list[str]) -> int:
    """Chooses and writes; tells how many functions were left out and why.

    Raises:
        ConfigError: the experiment is not valid, its functions cannot be chosen from, or there is an option of this name.
    """
    parser = Parser(prog="nnpx select", add_help=False, allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("-cd", "--config-dir", type=Path)
    options = parser.parse_intermixed_args(words)
    if options.help:
        sys.stdout.write(_HELP)
        return 0
    from nnpx.config import compose, instantiate, trust, validate
    from nnpx.upstream import is_current
    from nnpx.verbs import run_verb

    trust(take_trusted(options.words))
    overrides = [word for word in options.words if "=" in word]
    path = _path([word for word in options.words if "=" not in word], options.config_dir)
    experiment = [word for word in overrides if not word.startswith(("selection=", "selection."))]
    config = compose(experiment, options.config_dir)
    validate(config, config_dir=options.config_dir)
    if "functions" not in config.descriptor:
        do = "Choose descriptor=acsf, or another with functions that are listed one by one."
        raise ConfigError("descriptor", expected="one that takes a list of functions", found=config.descriptor._target_, do=do)
    selection = instantiate(compose(_with_selection(overrides), options.config_dir).selection)
    if not is_current("prepare", config, Path.cwd()):
        run_verb("prepare", config, Path.cwd(), alone=False)
    _select(config, selection, path)
    return 0


def _path(named: list[str], config_dir: Path | None) -> Path:
    """Where the option will stand."""
    from nnpx.configuration.option_files import groups_in
    from nnpx.configuration.resolvers import conf_dir

    if len(named) != 1 or not named[0].isidentifier():
        found = " ".join(named) or "none"
        raise ConfigError("nnpx select", expected="one name for the option", found=found, do="Name it: nnpx select acsf_64.")
    folder = config_dir or Path("conf")
    if named[0] in groups_in([conf_dir(), folder]).get("descriptor", []):
        do = "Choose another name, or remove the file."
        raise ConfigError(f"descriptor={named[0]}", expected="a name that no option has", found="an option of this name", do=do)
    return folder / "descriptor" / f"{named[0]}.yaml"


def _with_selection(overrides: list[str]) -> list[str]:
    """The overrides as Hydra takes them: no experiment has the group of selections, so it is added."""
    said = [f"+{word}" if word.startswith("selection=") else word for word in overrides]
    return said if any(word.startswith("+selection=") for word in said) else [f"+selection={DEFAULT}", *said]


def _select(config: "DictConfig", selection: Any, path: Path) -> None:
    from nnpx.configuration.schema import plain
    from nnpx.files import read_json
    from nnpx.selection.pruning import explained

    numbers = read_json(Path("data/prepared/card.json"))["numbers"]
    names, features, species = _training_set(plain(config), numbers)
    pruned, overlap = selection.pruning.prune(features, species)
    if not pruned.kept:
        do = "Lower selection.pruning.min_range, or train on structures that differ."
        raise ConfigError("selection.pruning", expected="functions that vary", found=f"none of {len(names)}", do=do)
    order = selection.order(overlap)
    chosen = [names[pruned.kept[k]] for k in sorted(order)]
    counts = f"{len(chosen)} of {len(names)} symmetry functions"
    origin = f"chosen by {type(selection).__name__} on {len(features)} environments of {_elements(numbers)}"
    _write(path, f"{counts}, {origin} (doi:10.1063/1.5024611)", plain(config.descriptor), chosen)
    left_out = [
        f"{len(pruned.constant)} vary by less than {selection.pruning.min_range:g}",
        f"{len(pruned.redundant)} are correlated by more than {selection.pruning.max_correlation:g} with one that is kept",
        f"{len(pruned.kept) - len(chosen)} others, of whose variance {100 * explained(overlap, order):.1f} % is linear in the chosen ones",
    ]
    sys.stdout.write(
        "\n".join([f"select: {counts} kept → {path}", *(f"  left out: {reason}" for reason in left_out), f"  {_next(path)}", ""])
    )


def _next(path: Path) -> str:
    """How to train with the option; the shipped options need no folder."""
    from nnpx.configuration.resolvers import conf_dir

    folder = path.parent.parent
    return f"nnpx train descriptor={path.stem}" + ("" if folder.resolve() == conf_dir() else f" --config-dir {folder}")


def _training_set(config: Mapping[str, Any], numbers: list[int]) -> "tuple[list[str], Float[Tensor, 'atom feature'], Int[Tensor, ' atom']]":
    """Names and values of all functions, and the element of every environment."""
    import torch

    from nnpx.assembly import build_parts
    from nnpx.data.reader import read
    from nnpx.descriptor.stored import is_fixed, store
    from nnpx.neighbors import graph_from_list

    parts = build_parts(config, numbers=numbers, seed=0)
    if not is_fixed(parts.embedding, parts.descriptor):
        do = "Choose with species_embedding=onehot."
        raise ConfigError("species_embedding", expected="one that is not trained", found=type(parts.embedding).__name__, do=do)
    structures = read(Path("data/prepared/train.extxyz"))
    graph = graph_from_list(structures, numbers=numbers, cutoff=parts.cutoff_radius, where="train.extxyz")
    described = store(graph, parts.descriptor, parts.embedding(graph.species), torch.float64, derivatives=False)
    return parts.descriptor.names(), described.features, graph.species


def _elements(numbers: list[int]) -> str:
    from ase.data import chemical_symbols

    return ", ".join(chemical_symbols[number] for number in numbers)


def _write(path: Path, comment: str, node: Mapping[str, Any], functions: list[str]) -> None:
    import yaml

    from nnpx.files import write_text

    body = yaml.safe_dump({**node, "functions": functions}, sort_keys=False, allow_unicode=True, width=200)
    write_text(path, f"# {comment}\n{body}")
