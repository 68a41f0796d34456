"""Special tokens: strings of a text that are one token wherever they stand."""

from collections.abc import Collection, Iterator

import regex


class SpecialTokens:
    """Finds them; of two that begin at one place the longer."""

    def __init__(self, texts: Collection[str]) -> None:
        pattern = "|".join(regex.escape(text) for text in sorted(texts, key=len, reverse=True))
        self._pattern = regex.compile(f"({pattern})") if pattern else None

    def parts(self, text: str) -> Iterator[tuple[str, bool]]:
        """What lies between special tokens, empty stretches too, and these: in turns."""
        pieces = [text] if self._pattern is None else self._pattern.split(text)
        for i, piece in enumerate(pieces):
            yield piece, i % 2 == 1
