"""The Reina-Valera Bible of 1909: Spanish, a verse at a time. `bibles` pairs it with English."""

from orrery.data.card import Card

CARD = Card(
    name="reina_valera",
    title="The Reina-Valera Bible of 1909",
    kind="text",
    manager="debian",
    package="sword-text-sparv",
    version="2.60-1",
    inside="usr/share/sword/modules/texts/ztext/spaRV1909eb",
    sha256={
        "ot.bzs": "0e39106ae15a29cef56feac683f8482be380536a1c456e006867f9fa94c0338e",
        "ot.bzv": "0f23b1ebff5ecdd352a64feda5bb047cba27ce3624fa7b00717f763835d96e20",
        "ot.bzz": "daae868e179e6cc884ad2c9429a9dfaf9745d61caa6dbb9da2a8b24ec3c01337",
        "nt.bzs": "b88dda1e9ab50d158262ab141af7823269acb19c581621683298be5b6e154d58",
        "nt.bzv": "a9583ba1b4c66dfdd8bfb6a0b1833bdaa02f9e2cc3465c5a802cf19cbc2f2533",
        "nt.bzz": "7baf6b1e798b193315fed89d0e84e8e1a033d035316f66c78d456f5fb8c87e20",
    },
    size=2_963_699,
    licence="public domain",
    redistributable=True,
    stands_for="the Spanish side of a parallel corpus such as WMT's",
    citation="Santa Biblia, Reina-Valera 1909, eBible.org 2022, module spaRV1909eb",
)
