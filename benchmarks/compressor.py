"""Row 15: bits a byte of the first megabyte of the Python library's sources, against PPMd and xz.

Context mixing starts from nothing, as the peers do. The text comes back byte for byte before its
size counts. The goal is PPMd's size, within ten minutes; the seconds are printed beside it.
"""

import json
import lzma
import time
from collections.abc import Callable

import pyppmd

from orrery.data import python_stdlib, shakespeare
from orrery.systems.theory.lm_compressor import compress, decompress

LENGTH = 1_000_000
ORDER, MEMORY = 16, 1 << 28
GOAL, MOST_SECONDS = 1.0, 600.0


def main() -> bool:
    """Both texts; a line each."""
    compress(b"compiled before it is timed")
    return all([
        contest("Python library", python_stdlib.load().encode()[:LENGTH]),
        contest("Shakespeare", shakespeare.load().encode()[:LENGTH]),
    ])  # fmt: skip


def contest(what: str, data: bytes) -> bool:
    peers: dict[str, Callable[[bytes], bytes]] = {
        "PPMd": lambda raw: pyppmd.compress(raw, max_order=ORDER, mem_size=MEMORY),
        "xz": lambda raw: lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME),
    }
    start = time.perf_counter()
    packed = compress(data)
    seconds = time.perf_counter() - start
    assert decompress(packed) == data
    bits = {name: 8 * len(work(data)) / len(data) for name, work in peers.items()}
    ours, best = 8 * len(packed) / len(data), min(bits, key=lambda name: bits[name])
    ratio = bits[best] / ours
    reached = ratio >= GOAL and seconds < MOST_SECONDS
    print(json.dumps({
        "row": "15", "what": f"{what}, {len(data):,} bytes in {seconds:.0f} s", "ratio":
        round(ratio, 3), "goal": GOAL, "reached": reached, "ours": round(ours, 4),
        "best_peer": best, "peer": round(bits[best], 4), "unit": "bits/byte",
        "share_of_limit": None, "contended": [], "rates": {"orrery": ours, **bits},
    }), flush=True)  # fmt: skip
    return reached


if __name__ == "__main__":
    main()
