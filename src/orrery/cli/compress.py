"""`orrery compress FILE`: a smaller file that holds the same bytes, by prediction."""

from pathlib import Path

from orrery.cli.parser import Parser, nearest, print_json
from orrery.errors import OrreryError, UsageError
from orrery.files import write_atomically

EXAMPLES = ("orrery compress notes.txt", "orrery compress notes.txt --to notes.orz")
SUFFIX = ".orz"


def main(argv: list[str]) -> int:
    """Compress, decompress what came out, and only then write it; returns 0."""
    parser = Parser("compress", "Compress a file; orrery decompress brings it back.", EXAMPLES)
    parser.add_argument("file", type=Path, metavar="FILE", help="of any content")
    parser.add_argument("--to", type=Path, metavar="FILE", help=f"default: FILE{SUFFIX}")
    parser.add_argument(
        "--model", default="mixing",
        help="mixing (default), or gpt: a Transformer that learns online; slow",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print an object")
    chosen = parser.parse_args(argv)
    data = read(chosen.file)
    target = new_file(chosen.to or chosen.file.with_name(chosen.file.name + SUFFIX))

    from orrery.systems.theory.lm_compressor import LARGEST, MODELS, compress, decompress

    if chosen.model not in MODELS:
        raise UsageError(f"no model {chosen.model!r}; {nearest(chosen.model, MODELS)}")
    if len(data) > LARGEST:
        raise OrreryError(f"{chosen.file} has {len(data):,} bytes; at most {LARGEST:,} are allowed")
    packed = compress(data, chosen.model)
    if decompress(packed) != data:
        raise OrreryError(f"what {chosen.file} was compressed to does not give it back")
    write_atomically(target, packed)
    told(target, before=len(data), after=len(packed), as_json=chosen.json)
    return 0


def read(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        OrreryError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise OrreryError(f"cannot read {path}: {error.strerror or error}") from error


def new_file(path: Path) -> Path:
    """`path`, where nothing is yet and something can be.

    Raises:
        OrreryError: there is such a file, or no such folder.
    """
    if path.exists():
        raise OrreryError(f"{path} exists; name another file with --to, or remove it")
    if not path.parent.is_dir():
        raise OrreryError(f"cannot write {path}: there is no folder {path.parent}")
    return path


def told(target: Path, *, before: int, after: int, as_json: bool) -> None:
    """Print what was written."""
    if as_json:
        print_json({"file": str(target), "bytes_before": before, "bytes": after})
    else:
        print(f"{target}: {before:,} bytes became {after:,}")
