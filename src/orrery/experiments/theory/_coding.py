"""What each contestant makes of an excerpt, in bits a character; a part of `lm_compressor`."""

import copy

import numpy as np
import torch

from orrery.experiments.theory._classics import CLASSICS, size_after
from orrery.lab import Measured
from orrery.metrics.compression import bits_per_character
from orrery.systems.language.gpt import Gpt
from orrery.systems.theory.context_mixing import ContextMixing
from orrery.systems.theory.gpt_predictor import GptPredictor, log_chances
from orrery.systems.theory.lm_compressor import Layout, decode, encode


def piece(text: bytes, size: int, chance: np.random.Generator) -> bytes:
    """`size` bytes from somewhere in a text, or a few less, so that no character is cut."""
    start = int(chance.integers(max(1, len(text) - size)))
    return text[start : start + size].decode(errors="ignore").encode()


def by_gpt(gpt: Gpt, data: bytes, lanes: int) -> Measured:
    """Coded size and, apart from the coder, cross-entropy and share of wrong first guesses."""
    layout = Layout(len(data), lanes)
    text = layout.cut(np.frombuffer(data, dtype=np.uint8))
    present = torch.from_numpy(np.stack(list(layout.present())))
    chances = log_chances(gpt, text)
    true = torch.from_numpy(text.astype(np.int64))
    nats = -chances.gather(-1, true[..., None]).squeeze(-1)[present].double().sum()
    wrong = (chances.argmax(dim=-1) != true)[present].double().mean()
    characters = len(data.decode())
    return {
        "coded": 8 * len(encode(data, GptPredictor(gpt, lanes))) / characters,
        "entropy": bits_per_character(float(nats), characters=characters),
        "errors": float(wrong),
    }


def by_stored_gpt(gpt: Gpt, data: bytes, noise: bytes, lanes: int) -> Measured:
    """Coded size with the weights that a file would hold, two bytes each, free and counted."""
    stored = copy.deepcopy(gpt).half().float()
    code = encode(data, GptPredictor(stored, lanes))
    weights = sum(p.numel() for p in gpt.parameters())
    characters = len(data.decode())
    return {
        "gpt": 8 * len(code) / characters,
        "gpt+weights": (8 * len(code) + 16 * weights) / characters,
        "gpt/exact": float(decode(code, len(data), GptPredictor(stored, lanes)) == data),
        "gpt/noise": 8 * len(encode(noise, GptPredictor(stored, lanes))) / len(noise),
    }


def by_others(data: bytes, past: bytes, noise: bytes) -> Measured:
    """Context mixing and the classics, alone and with `past` read before."""
    code = ContextMixing(len(data)).encode(data)
    experienced = ContextMixing(len(past) + len(data))
    experienced.read(past)
    found = {"mixing": len(code), "mixing+past": len(experienced.encode(data))}
    for name in CLASSICS:
        found[name] = size_after(name, data)
        found[f"{name}+past"] = size_after(name, data, past)
    characters = len(data.decode())
    return {arm: 8 * size / characters for arm, size in found.items()} | {
        "bytes": len(data) / characters,
        "mixing/exact": float(ContextMixing(len(data)).decode(code, len(data)) == data),
        "mixing/noise": 8 * len(ContextMixing(len(noise)).encode(noise)) / len(noise),
    }
