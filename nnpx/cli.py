"""`nnpx VERB [group=option] [key=value]`: composes the experiment, checks it, and runs one verb on it.

The verbs are the files in pipelines/; commands, which work on more than one experiment, are the files in nnpx/commands/. Nothing heavy is
imported before the experiment is known to be right.
"""

import os
import select
import signal
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnpx import __version__
from nnpx.arguments import Parser, take_trusted
from nnpx.commands import commands, run_command
from nnpx.errors import ConfigError, NNPXError, OutOfMemoryError, WorkspaceError
from nnpx.files import TAKES_NOTHING
from nnpx.memory import LESS, is_out_of_memory
from nnpx.processes import share_cores
from nnpx.verbs import run_verb, verbs

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main() -> int:
    """The command `nnpx`. Errors of the user's input, and a disk or a memory that is full, are one line each and exit with 2."""
    # a batch system ends its jobs so: runs are closed and workers ended, as after Ctrl-C
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    share_cores()
    try:
        code = _dispatch(sys.argv[1:])
        sys.stdout.flush()
        return code
    except NNPXError as error:
        return _complain(error)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    except BrokenPipeError:
        if not _is_unread():
            raise
        return 128 + signal.SIGPIPE
    except (OSError, MemoryError, RuntimeError) as error:
        if (told := _of_the_machine(error)) is None:
            raise
        return _complain(told)


def _of_the_machine(error: Exception) -> NNPXError | None:
    """What to say where the machine has no room left, on its disk or in its memory; None of any other error."""
    said = str(error).splitlines() or [type(error).__name__]
    if is_out_of_memory(error):
        expected = "enough of it for what is to be computed"
        return OutOfMemoryError("memory", expected=expected, found=f"none left ({said[0].rstrip('.')})", do=LESS)
    if not isinstance(error, OSError) or error.errno not in TAKES_NOTHING:
        return None
    expected, found = "a disk that can be written to", error.strerror or said[0]
    do = "Free some space and run the same command again: what is finished is kept."
    return WorkspaceError(str(error.filename or "a file"), expected=expected, found=found, do=do)


def _complain(error: NNPXError) -> int:
    sys.stderr.write("".join(f"error: {line}\n" for line in str(error).splitlines()))
    return 2


def _is_unread() -> bool:
    """Whether it is the output that nobody reads any more, as after `nnpx config show | head`; then no more of it is written."""
    output, poll = sys.stdout.fileno(), select.poll()
    poll.register(output, 0)
    unread = any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    if unread:
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return unread


def _dispatch(arguments: list[str]) -> int:
    if arguments and arguments[0] in commands():
        return run_command(arguments[0], arguments[1:])
    options = _parse(arguments)
    if options.version:
        sys.stdout.write(f"nnpx {__version__}\n")
        return 0
    if not options.words or (options.help and options.words[0] not in verbs()):
        sys.stdout.write(_help(None, options.config_dir))
        return 0 if options.help else 2
    verb = _verb(options.words.pop(0))
    if options.help:
        sys.stdout.write(_help(verb, options.config_dir))
        return 0
    return _experiment(verb, options)


def _experiment(verb: str, options: Namespace) -> int:
    from nnpx.config import trust

    trust(take_trusted(options.words))
    config_dir = Path(options.config_dir) if options.config_dir else None
    if options.multirun or options.cfg:
        from nnpx.sweep import show, sweep

        if options.multirun and verb in ("compose", "check"):
            do = f"Leave out -m; `nnpx {verb}` works on one experiment."
            raise ConfigError("-m", expected="a verb that a sweep can run", found=verb, do=do)
        if options.cfg:
            return show(options.words, config_dir, options.cfg, resolve=options.resolve, package=options.package)
        return sweep(verb, options.words, config_dir)
    config = _config(options, config_dir)
    if verb == "compose":
        return _write(config)
    if verb == "check":
        return _check(config, composed=options.params is not None)
    if verb in ("evaluate", "simulate"):
        from nnpx.upstream import check_same_potential

        check_same_potential(options.words, config, Path.cwd())
    from nnpx.speed.loops import tell_of_compiling

    tell_of_compiling(lambda: sys.stderr.write("compiling loops for this processor, some 20 s, once for an installation\n"))
    run_verb(verb, config, Path.cwd(), alone=options.params is not None)
    return 0


def _config(options: Namespace, config_dir: Path | None) -> "DictConfig":
    """The experiment, composed or read, and checked."""
    from nnpx.config import compose, load_params, validate

    config = compose(options.words, config_dir) if options.params is None else load_params(Path(options.params), options.words)
    validate(config, config_dir=config_dir)
    return config


def _write(config: "DictConfig") -> int:
    from omegaconf import OmegaConf

    Path("params.yaml").write_text(OmegaConf.to_yaml(config), encoding="utf-8")
    sys.stdout.write("wrote params.yaml\n")
    return 0


def _check(config: "DictConfig", *, composed: bool) -> int:
    """Refuses an experiment that was composed from another state of conf/."""
    from nnpx import upstream
    from nnpx.configuration import resolvers

    upstream.check_choices("check", config, Path.cwd())
    if composed:
        here = Path("conf")  # DVC's queue runs in a copy of the project
        now = resolvers.conf_hash(here if (here / "config.yaml").is_file() else resolvers.conf_dir())
        if config.conf_hash != now:
            do = "Run `nnpx compose [overrides]` or `dvc exp run [-S override]`, then this again."
            raise ConfigError(
                "params.yaml", expected=f"one composed from conf/ as it is now ({now})", found=f"an older one ({config.conf_hash})", do=do
            )
        Path("reports").mkdir(exist_ok=True)
        Path("reports/conf_hash.txt").write_text(f"{now}\n")
    sys.stdout.write("the experiment is valid\n")
    return 0


def _parse(arguments: Sequence[str]) -> Namespace:
    parser = Parser(prog="nnpx", add_help=False, allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--params")
    parser.add_argument("-cd", "--config-dir")
    parser.add_argument("-m", "--multirun", action="store_true")
    parser.add_argument("-c", "--cfg", choices=("job", "hydra", "all"))
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("-p", "--package")
    options = parser.parse_intermixed_args(list(arguments))
    if options.params is not None and (options.multirun or options.cfg or options.config_dir):
        do = "Give the overrides instead of --params."
        raise ConfigError("--params", expected="no -m, --cfg or --config-dir beside it", found="one of them", do=do)
    return options


def _verb(word: str) -> str:
    if word in verbs():
        return word
    from nnpx.configuration.targets import suggest

    known = [*verbs(), *commands()]
    do = suggest(word, known) or "Name the verb first: nnpx train …"
    raise ConfigError(word, expected=f"a verb ({', '.join(known)})", found=word, do=do)


def _help(verb: str | None, config_dir: str | None) -> str:
    from nnpx import help as screens
    from nnpx.configuration import resolvers

    folders = [resolvers.conf_dir(), *([Path(config_dir)] if config_dir else [])]
    return screens.overview(verbs(), commands()) if verb is None else screens.about(verb, verbs()[verb], folders)


if __name__ == "__main__":
    sys.exit(main())
