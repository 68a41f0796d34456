"""`orrery quantise [FILE]`: a language model's file with its weights in fewer bits."""

from pathlib import Path

from orrery.cli.compress import new_file, told
from orrery.cli.parser import Parser, nearest
from orrery.errors import UsageError

EXAMPLES = (
    "orrery quantise --format Q4_0",
    "orrery quantise model.F16.gguf --format Q8_0 --to small.gguf",
)
FORMATS = ("Q4_0", "Q4_1", "Q8_0", "F16", "F32")


def main(argv: list[str]) -> int:
    """Round every matrix to the format, and write a new file; returns 0."""
    parser = Parser("quantise", "Write a GGUF file anew, its weights in another format.", EXAMPLES)
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE",
                        help="GGUF; default: the model that orrery brings")  # fmt: skip
    parser.add_argument(
        "--format", default="Q4_0", help=f"of the matrices: {', '.join(FORMATS)}; default Q4_0"
    )
    parser.add_argument("--to", type=Path, metavar="FILE", help="default: FILE's name.FORMAT.gguf")
    parser.add_argument("--json", action="store_true", help="print an object")
    chosen = parser.parse_args(argv)
    if chosen.format not in FORMATS:
        raise UsageError(f"no format {chosen.format!r}; {nearest(chosen.format, FORMATS)}")

    from orrery.data import smollm2
    from orrery.inference.gguf import Gguf
    from orrery.inference.gguf_writer import converted, write_gguf

    source = chosen.file or smollm2.load()
    file = Gguf(source)
    target = new_file(chosen.to or Path(f"{plain_name(source)}.{chosen.format}.gguf"))
    write_gguf(target, *converted(file, chosen.format))
    before, after = (path.stat().st_size for path in (source, target))
    told(target, before=before, after=after, as_json=chosen.json)
    return 0


def plain_name(path: Path) -> str:
    """A file's name without what says its format."""
    stem, dot, last = path.stem.rpartition(".")
    return stem if dot and last in FORMATS else path.stem
