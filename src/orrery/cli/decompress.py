"""`orrery decompress FILE`: the bytes that `orrery compress` was given."""

from pathlib import Path

from orrery.cli.compress import SUFFIX, new_file, read, told
from orrery.cli.parser import Parser
from orrery.errors import UsageError
from orrery.files import write_atomically

EXAMPLES = ("orrery decompress notes.txt.orz", "orrery decompress notes.orz --to notes.txt")


def main(argv: list[str]) -> int:
    """Decompress and check; returns 0."""
    parser = Parser("decompress", "Bring back what orrery compress was given.", EXAMPLES)
    parser.add_argument("file", type=Path, metavar="FILE", help="that orrery compress wrote")
    parser.add_argument("--to", type=Path, metavar="FILE", help=f"default: FILE without {SUFFIX}")
    parser.add_argument("--json", action="store_true", help="print an object")
    chosen = parser.parse_args(argv)
    if chosen.to is None and chosen.file.suffix != SUFFIX:
        raise UsageError(f"{chosen.file} does not end in {SUFFIX}: say with --to what to write")
    packed = read(chosen.file)
    target = new_file(chosen.to or chosen.file.with_suffix(""))

    from orrery.systems.theory.lm_compressor import decompress

    data = decompress(packed)
    write_atomically(target, data)
    told(target, before=len(packed), after=len(data), as_json=chosen.json)
    return 0
