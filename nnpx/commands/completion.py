"""Prints the completion for a shell: eval "$(nnpx completion bash)", the same for zsh; for fish, nnpx completion fish | source.

The scripts below ask `nnpx completion line LINE`, where LINE is the command line up to the cursor, and get one candidate a line.
"""

import sys
from typing import Final

from nnpx.commands import commands
from nnpx.completion import SECOND_WORDS, candidates
from nnpx.configuration import resolvers
from nnpx.configuration.targets import suggest
from nnpx.errors import ConfigError
from nnpx.verbs import verbs

#: bash divides words at = and : itself, and wants only what follows
_BASH: Final = r"""
_nnpx() {
    local line="${COMP_LINE:0:COMP_POINT}" word prefix
    word="${line##* }"
    prefix="${word%"${word##*[=:]}"}"
    COMPREPLY=()
    while IFS= read -r word; do COMPREPLY+=("${word#"$prefix"}"); done < <(nnpx completion line "$line" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=.] ]]; then compopt -o nospace; fi
}
complete -o bashdefault -o default -F _nnpx nnpx
"""
_ZSH: Final = r"""
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -u; }
_nnpx() {
    local -a found
    found=("${(@f)$(nnpx completion line "${(j: :)words[1,CURRENT-1]} $PREFIX" 2>/dev/null)}")
    found=(${found:#})
    if (( ! $#found )); then
        compset -P '*='
        _files
        return
    fi
    compadd -Q -S '' -- ${(M)found:#*[=.]}
    compadd -Q -- ${found:#*[=.]}
    return 0
}
compdef _nnpx nnpx
"""
_FISH: Final = r"""
function __nnpx_candidates
    nnpx completion line (string join ' ' -- (commandline -opc) (commandline -ct)) 2>/dev/null
end
complete -c nnpx -f -a '(__nnpx_candidates)'
complete -c nnpx -l params -r -F
complete -c nnpx -l config-dir -r -f -a '(__fish_complete_directories)'
"""
SCRIPTS: Final = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def main(words: list[str]) -> int:
    """Prints the script for a shell, or the candidates for a line.

    Raises:
        ConfigError: for another word.
    """
    if words[:1] == ["line"]:
        found = candidates(" ".join(words[1:]), list(verbs()), list(commands()), resolvers.conf_dir())
        sys.stdout.write("".join(f"{word}\n" for word in found))
        return 0
    if words in (["-h"], ["--help"]):
        sys.stdout.write(f"{__doc__}")
        return 0
    shell = words[0] if words else "nothing"
    if len(words) != 1 or shell not in SCRIPTS:
        known = SECOND_WORDS["completion"]
        do = suggest(shell, known) or 'Put eval "$(nnpx completion bash)" into ~/.bashrc.'
        raise ConfigError("nnpx completion", expected=f"a shell ({', '.join(known)})", found=" ".join(words) or shell, do=do)
    sys.stdout.write(SCRIPTS[shell].lstrip())
    return 0
