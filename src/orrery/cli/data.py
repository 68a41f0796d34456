"""`orrery data list|get|verify`: the data sets, fetched once and checked by hash."""

import sys
from dataclasses import asdict

from orrery.cli.parser import Parser, nearest, print_json
from orrery.data.card import Card
from orrery.data.fetch import bad_files, folder, get, is_present
from orrery.data.sets import CARDS
from orrery.errors import OrreryError, UsageError

ACTIONS = {"list": "what there is", "get": "fetch sets", "verify": "hash every file again"}
EXAMPLES = ("orrery data list --json", "orrery data get fashion_mnist", "orrery data verify")


def main(argv: list[str]) -> int:
    """Do what is asked; returns 0, or 1 if a set cannot be had or a file is bad."""
    parser = Parser("data", "List, get and verify the data sets.", EXAMPLES)
    actions = "; ".join(f"{name}: {text}" for name, text in ACTIONS.items())
    parser.add_argument("action", help=actions)
    parser.add_argument("names", nargs="*", metavar="NAME", help="data sets")
    parser.add_argument("--all", action="store_true", help="get: every set")
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    chosen = parser.parse_args(argv)
    if chosen.action not in ACTIONS:
        raise UsageError(f"no action {chosen.action!r}; {nearest(chosen.action, ACTIONS)}")
    cards = [_card(name) for name in chosen.names]
    if chosen.action == "list":
        return _list(cards or list(CARDS.values()), as_json=chosen.json)
    if chosen.action == "verify":
        cards = cards or [card for card in CARDS.values() if folder(card).exists()]
        return _verify(cards, as_json=chosen.json)
    if not (cards or chosen.all):
        raise UsageError("name the data sets to get, or --all")
    return _get(list(CARDS.values()) if chosen.all else cards, as_json=chosen.json)


def _card(name: str) -> Card:
    if name not in CARDS:
        raise UsageError(f"no data set {name!r}; {nearest(name, CARDS)}")
    return CARDS[name]


def _list(cards: list[Card], *, as_json: bool) -> int:
    if as_json:
        print_json([asdict(card) | _state(card) for card in cards])
        return 0
    for card in cards:
        size = f"{card.size / 1e6:.1f} MB" if card.size else "-"
        here = "here" if is_present(card) else "to get"
        print(f"{card.name:<14} {card.kind:<7} {size:>8}  {here:<7} {card.licence}")
    return 0


def _state(card: Card) -> dict[str, object]:
    return {"present": is_present(card), "folder": str(folder(card)) if card.sha256 else None}


def _get(cards: list[Card], *, as_json: bool) -> int:
    """Get each, and go on when one cannot be had."""
    errors: dict[str, str] = {}
    for card in cards:
        try:
            place = get(card)
        except OrreryError as error:
            errors[card.name] = " ".join(str(error).split())
            print(f"orrery: {errors[card.name]}", file=sys.stderr)
        else:
            if not as_json:
                print(f"{card.name}: {place if card.sha256 else 'needs no files'}")
    if as_json:
        print_json([
            {"name": card.name, **_state(card), "error": errors.get(card.name)} for card in cards
        ])  # fmt: skip
    return int(bool(errors))


def _verify(cards: list[Card], *, as_json: bool) -> int:
    bad = {card.name: bad_files(card) for card in cards}
    lines = [line for found in bad.values() for line in found]
    if as_json:
        print_json([{"name": c.name, "files": len(c.sha256), "bad": bad[c.name]} for c in cards])
        return int(bool(lines))
    for line in lines:
        print(line)
    checked = sum(len(card.sha256) for card in cards)
    print(f"{checked - len(lines)} of {checked} files of {len(cards)} data sets are as released")
    return int(bool(lines))
