"""The flags of `nnpx`: what they do, and what a misspelt or foreign one should have been. Imports nothing heavy."""

from collections.abc import Sequence
from typing import Final

from nnpx.configuration.targets import suggest
from nnpx.errors import ConfigError

#: every flag of a verb
FLAGS: Final = ("--params", "--config-dir", "--cfg", "--resolve", "--package", "--multirun", "--help", "--version", "-m")
#: flags that programs built on Hydra usually have, and what does the same here
_ELSEWHERE: Final = {
    "--config-name": "Name a composed experiment with --params FILE, or save your changes as DIR/experiment/NAME.yaml and say "
    "--config-dir DIR experiment=NAME.",
    "-cn": "Name a composed experiment with --params FILE, or an experiment of your own with --config-dir DIR experiment=NAME.",
    "--config-path": "Name the folder of your own options with --config-dir DIR.",
    "-cp": "Name the folder of your own options with --config-dir DIR.",
    "--run": "Leave it out: a verb runs unless -m or --cfg is given.",
    "--info": "Say --cfg job to see the experiment, --cfg hydra to see how it runs.",
    "--hydra-help": "Say `nnpx --help`.",
    "--shell-completion": "Say `nnpx completion bash`, zsh or fish.",
    "-sc": "Say `nnpx completion bash`, zsh or fish.",
    "--experimental-rerun": "Run the same command again: what is finished is kept.",
}


def unknown_flag(words: Sequence[str], known: Sequence[str]) -> ConfigError:
    """What to write instead of a flag that is not one of those known, followed by what else was on the command line."""
    flag, equals, value = words[0].partition("=")
    value = value or next((word for word in words[1:2] if not word.startswith("-")), "")
    name = flag.lstrip("-").replace("-", "_")
    do = _ELSEWHERE.get(flag) or suggest(flag, known)
    if not do and flag in FLAGS:
        do = f"Leave it out: {flag} belongs to verbs, such as `nnpx train`."
    if not do:
        do = f"Write {name}={value or 'VALUE'}: what belongs to the experiment has no dashes."
    return ConfigError(flag, expected=f"one of the flags ({', '.join(known)})", found=words[0] if equals else flag, do=do)
