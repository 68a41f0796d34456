"""`orrery illustrate SENTENCE`: a page on which a reader looks into the heads of a Transformer."""

import sys

from orrery.cli.annotate import add_page, place, put
from orrery.cli.parser import Parser
from orrery.errors import MissingDataError

SENTENCE = "The animal did not cross the street because it was tired."
EXAMPLES = (
    "orrery illustrate",
    'orrery illustrate "Time flies like an arrow" --to page.html',
    "orrery illustrate --by-heart",
)


def main(argv: list[str]) -> int:
    """Write the page and print where it is; returns 0.

    Raises:
        UsageError: the sentence is too short or too long, or the page cannot stand there.
    """
    parser = Parser("illustrate", "Queries, keys and values of a sentence, to click on.", EXAMPLES)
    parser.add_argument(
        "sentence", nargs="?", default=SENTENCE, metavar="SENTENCE",
        help="English (default: one about an animal)",
    )  # fmt: skip
    parser.add_argument(
        "--by-heart", action="store_true",
        help="by a small model that learns this one sentence, without MiniLM's weights",
    )  # fmt: skip
    add_page(parser)
    chosen = parser.parse_args(argv)
    path = place(chosen.to, "illustrated.html")

    from orrery.lab.walkthrough.illustrated import (
        read_by_heart,
        read_with_minilm,
        write_illustrated,
    )
    from orrery.lab.words import language

    try:
        read = read_by_heart if chosen.by_heart else read_with_minilm
        reading = read(chosen.sentence)
    except MissingDataError as error:
        print(f"{error}; a small model learns the sentence instead", file=sys.stderr)
        reading = read_by_heart(chosen.sentence)
    return put(path, write_illustrated(reading, chosen.language or language()), chosen.json)
