"""The words of a command line, before any of them is known to be right."""

from argparse import ArgumentParser
from typing import NoReturn, final

from nnpx.errors import ConfigError
from nnpx.flags import FLAGS, unknown_flag


@final
class Parser(ArgumentParser):
    """Argparse whose errors are ours."""

    def error(self, message: str) -> NoReturn:
        """Raises what argparse would print.

        Raises:
            ConfigError: always.
        """
        _, unknown, words = message.partition("unrecognized arguments: ")
        if unknown:
            own = [max(action.option_strings, key=len) for action in self._actions if action.option_strings]
            raise unknown_flag(words.split(), FLAGS if self.prog == "nnpx" else own)
        flag, needed, _ = message.removeprefix("argument ").partition(": expected one argument")
        if needed:
            raise ConfigError(flag, expected="a word after it", found="none", do="Give it, as in `nnpx --help`.")
        raise ConfigError("command line", expected="options as in `nnpx --help`", found=message, do="Correct it.")


def take_trusted(words: list[str]) -> list[str]:
    """Takes `trusted=[a,b]` out of the overrides: it belongs to this command line and never to an experiment."""
    named = [word for word in words if word.startswith("trusted=")]
    words[:] = [word for word in words if word not in named]
    return [name.strip() for word in named for name in word.removeprefix("trusted=").strip("[]").split(",") if name.strip()]
