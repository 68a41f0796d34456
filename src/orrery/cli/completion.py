"""`orrery completion SHELL`: a script that completes commands, experiments and data sets."""

from orrery.catalog import experiments, systems
from orrery.cli.parser import Parser, nearest, print_json
from orrery.errors import UsageError

EXAMPLES = (
    'eval "$(orrery completion bash)"',
    "orrery completion fish > ~/.config/fish/completions/orrery.fish",
)
BASH = """_orrery() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} words=""
  if [ "$COMP_CWORD" = 1 ]; then words="{commands}"; else
    case ${{COMP_WORDS[1]}} in
{cases}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _orrery orrery"""
CASE = """      {command}) words="{words}" ;;"""
ZSH = "autoload -U +X bashcompinit && bashcompinit"
FISH = """complete -c orrery -n __fish_use_subcommand -f -a '{commands}'"""
FISH_CASE = """complete -c orrery -n '__fish_seen_subcommand_from {command}' -a '{words}'"""
SHELLS = ("bash", "zsh", "fish")


def main(argv: list[str]) -> int:
    """Print the script; returns 0."""
    parser = Parser("completion", "Print a script that lets a shell complete orrery.", EXAMPLES)
    parser.add_argument("shell", metavar="SHELL", help=", ".join(SHELLS))
    parser.add_argument("--json", action="store_true", help="print what can be completed instead")
    chosen = parser.parse_args(argv)
    if chosen.shell not in SHELLS:
        raise UsageError(f"no shell {chosen.shell!r}; {nearest(chosen.shell, SHELLS)}")
    commands, words = completions()
    if chosen.json:
        print_json({"commands": commands, "words": words})
    else:
        print(script(chosen.shell, commands, words))
    return 0


def completions() -> tuple[list[str], dict[str, list[str]]]:
    """The commands, and the words that may follow each."""
    from orrery.cli.main import COMMANDS
    from orrery.data.sets import CARDS

    stems = list(experiments())
    return list(COMMANDS), {
        **dict.fromkeys(("run", "record", "tour"), stems),
        "show": [*stems, *(stem for stem in systems() if stem not in stems)],
        "annotate": list(systems()),
        "data": ["list", "get", "verify", *CARDS],
        "completion": list(SHELLS),
    }


def script(shell: str, commands: list[str], words: dict[str, list[str]]) -> str:
    """What the shell is to read."""
    names = " ".join(commands)
    line = FISH_CASE if shell == "fish" else CASE
    cases = [line.format(command=c, words=" ".join(follow)) for c, follow in words.items()]
    if shell == "fish":
        return "\n".join([FISH.format(commands=names), *cases])
    bash = BASH.format(commands=names, cases="\n".join(cases))
    return f"{ZSH}\n{bash}" if shell == "zsh" else bash
