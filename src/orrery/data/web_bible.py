"""The World English Bible: modern English, a verse at a time. `bibles` pairs it with Spanish."""

from orrery.data.card import Card

CARD = Card(
    name="web_bible",
    title="The World English Bible",
    kind="text",
    manager="debian",
    package="sword-text-web",
    version="426.0-1",
    inside="usr/share/sword/modules/texts/ztext/engWEB2015eb",
    sha256={
        "ot.bzs": "2c16645bb829c05b20f39769e1fa23212743335143833a819f29e412c6def8ce",
        "ot.bzv": "dbd3b762b7159c5dd4b535f75b6ab643fb62ae44f4655aff3c5098a955a1ae57",
        "ot.bzz": "4633066d3872f1a3e600d2d10e667a13cd6c32bf116ca971d3c8f288bc3ea453",
        "nt.bzs": "bec87a360bbc6bfbcd7de513edf928ceebb428dd2baff813aebf521bb0c6cc83",
        "nt.bzv": "bb7a522d8323ccd7be462fca4dcd53c06d966c140fe260a6295e05393d259338",
        "nt.bzz": "5429389d9331b7a86901a73afa74f32d089cae3d5bd8dfe304b11808714a69ba",
    },
    size=4_291_024,
    licence="public domain",
    redistributable=True,
    stands_for="the English side of a parallel corpus such as WMT's",
    citation="World English Bible, stable text of 2020, eBible.org 2022, module engWEB2015eb",
)
