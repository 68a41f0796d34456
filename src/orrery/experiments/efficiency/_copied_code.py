"""SmolLM2 on code that repeats: how many tokens a pass yields when drafts are looked up."""

import time
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from orrery.data import python_stdlib, smollm2
from orrery.experiments.efficiency._speculation import reader
from orrery.inference.gguf import Gguf
from orrery.inference.step import MOST_TOKENS, PlaceCache
from orrery.lab import Lab, Measured
from orrery.systems.efficiency.speculative_decoding import (
    LookUp,
    Speculation,
    SpeculativeConfig,
    TextReader,
)
from orrery.systems.language import compiled_llama
from orrery.systems.language.bpe_fast import FastBpe
from orrery.systems.language.compiled_llama import CompiledLlama
from orrery.systems.language.gguf_llama import read_llama, read_vocabulary


def smollm() -> tuple[Callable[[], TextReader], FastBpe]:
    """SmolLM2: readers of texts that begin, and its tokens."""
    file = Gguf(smollm2.load())
    bpe = FastBpe(read_vocabulary(file))
    if not compiled_llama.available():
        slow = read_llama(file).eval()
        return lambda: reader(slow), bpe
    model = CompiledLlama(file)

    def read(tokens: Tensor, cache: PlaceCache) -> Tensor:
        model.step.make_room(cache, tokens.shape[1])
        parts = model.embeddings(tokens[0]).split(MOST_TOKENS)
        return torch.cat([model.step.read_part(part, cache, scored=len(part)) for part in parts])

    return lambda: TextReader(read, model.new_cache()), bpe


def copied(count: int, lab: Lab) -> Measured:
    """SmolLM2 writes on code that has begun to repeat, greedily, with look-up and without.

    Args:
        count: tokens that it writes.
        lab: draws the place in the standard library.
    """
    new_reader, bpe = smollm()
    lines = python_stdlib.load().splitlines()
    first = int(lab.numpy_rng("code").integers(len(lines) - 100))
    code = bpe.encode("\n".join(lines[first : first + 100]))[: 2 * count]
    prompt = [*code, *code[: max(1, count // 2)]]
    how, found, measured = SpeculativeConfig(ahead=8, temperature=0), [], Measured()
    for way, draft in (("copied/plain/", Nothing()), ("copied/", LookUp())):
        target = new_reader()
        target.read(prompt[:-1], 1)  # before the clock runs
        start = time.process_time()
        text = Speculation(target, draft, how).write(prompt, count, lab.rng("greedy"))
        measured[f"{way}seconds"] = (time.process_time() - start) / count
        measured[f"{way}tokens a pass"] = count / text.passes
        found.append(text.tokens)
    return {**measured, "copied/same": float(found[0] == found[1])}


class Nothing(LookUp):
    """No draft."""

    def propose(
        self, text: Sequence[int], count: int, how: SpeculativeConfig, generator: Generator
    ) -> tuple[list[int], Tensor | None]:
        """No token."""
        return [], None
