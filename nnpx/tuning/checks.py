"""What is checked before the first trial: that every end of every dimension composes to a valid experiment."""

import re
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from nnpx.config import compose, fingerprint, problems_of, validate
from nnpx.configuration.overrides import parse
from nnpx.configuration.schema import plain, raise_all
from nnpx.configuration.targets import trusted_code
from nnpx.errors import ConfigError
from nnpx.files import md5
from nnpx.initial import initial_file
from nnpx.tuning.search import Declared
from nnpx.tuning.space import corners, overrides_of
from nnpx.upstream import check_choices


def check_space(declared: Declared, overrides: Sequence[str], config_dir: Path | None) -> list[DictConfig]:
    """The experiments at the corners of the space, each checked.

    Raises:
        ConfigError: with the errors of all of them, each once.
    """
    _check_apart(declared, overrides)
    configs: list[DictConfig] = []
    problems: dict[str, ConfigError] = {}
    for point in corners(declared.search.space):
        try:
            config = compose([*overrides, *overrides_of(point)], config_dir)
            validate(config, config_dir=config_dir)
            configs.append(config)
        except ConfigError as error:
            problems.update({str(problem): problem for problem in problems_of(error)})
    raise_all(list(problems.values()))
    for config in configs:
        try:
            check_choices("train", config, Path.cwd())
        except ConfigError as error:
            problems.update({str(problem): problem for problem in problems_of(error)})
    raise_all(list(problems.values()))
    return configs


def study_name(declared: Declared, configs: Sequence[DictConfig], project: Path) -> str:
    """A name that changes with the space, with whatever the experiments at its corners are made of, and with how it is searched.

    A potential that the trainings start from counts by its content: another of the same name is another start.

    The budget, the record of runs and comments in conf/ change nothing: such a search goes on.
    """
    idle = ("conf_hash", "tracking")
    made_of = [{key: value for key, value in plain(config).items() if key not in idle} for config in configs]
    starts = [md5(file) for config in configs if (file := initial_file(config, project))]  # without any, names are what they were
    name = re.sub(r"[^A-Za-z0-9._-]", "_", f"{declared.option}-{configs[0].name}")
    return f"{name}-{fingerprint(declared.content(), made_of, trusted_code(), *starts)[:8]}"


def _check_apart(declared: Declared, overrides: Sequence[str]) -> None:
    """An override cannot be given and searched at once."""
    given = {str(override.key_or_group): override for override in parse(overrides)}
    raise_all(
        [
            ConfigError(str(override.input_line), expected="no value for what is searched", found=f"{key} in the space", do="Drop one.")
            for key, override in given.items()
            if key in declared.search.space
        ]
    )
