"""Rows 3a to 3e: SmolLM2-135M on this machine against llama.cpp and transformers.

All read the one file that comes with orrery; llama.cpp also its own rewriting of it in Q4_0.
Before time counts, the perplexity of a text and the error of the scores against those of the same
weights in single precision are printed for each. llama.cpp is timed through its binding's `eval`.
llama.cpp is what the extra `bench-llama-cpp` brings (it compiles for ten minutes; where its own use
of AMX breaks off, as version 0.3.36 did on a machine that has it, build it with GGML_NATIVE=OFF);
without it its rows are left out. Each has a process of its own, one at work at a time: threads of
OpenMP that wait by spinning, as torch's and llama.cpp's do, would be in the way of the others'.
"""

import ctypes
import importlib.util
import json
import multiprocessing
import tempfile
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.side_by_side import interleave, report
from orrery.data import king_james, smollm2
from orrery.inference.decoding import one_thread
from orrery.inference.gguf import Gguf
from orrery.systems.language.gguf_llama import read_llama
from orrery.systems.language.local_llm import LocalLlm

PROMPT, WRITTEN, TEXTS, WINDOW = 512, 64, 8, 512
BANDWIDTH = 48e9  # bytes a second that two cores of the machine of the anchors read
GOALS = {"Q4_1": 1.1, "Q4_0": 1.0, "bfloat16": 1.8}


class Ours:
    """The compiled step."""

    def __init__(self, path: Path) -> None:
        self.model = LocalLlm(path).model

    def read(self, tokens: list[int]) -> Tensor:
        """A prompt; scores of the next token."""
        self.cache = self.model.new_cache()
        return self.model(torch.tensor([tokens]), self.cache)[0]

    def write(self, count: int) -> None:
        """So many tokens, the likeliest each time; then what was read is as before."""
        length, token = len(self.cache), torch.zeros(1, 1, dtype=torch.long)
        for _ in range(count):
            with one_thread():
                token = self.model(token, self.cache).argmax(dim=-1, keepdim=True)
        self.cache.cut(length)

    def write_texts(self, count: int) -> None:
        """The same for several texts side by side."""
        caches = [self.cache.beginning(16) for _ in range(TEXTS)]
        tokens = torch.zeros(TEXTS, dtype=torch.long)
        for _ in range(count):
            with one_thread():
                tokens = self.model.write(tokens, caches).argmax(dim=-1)

    def scores(self, tokens: list[int]) -> Tensor:
        """Of each next token."""
        cache = self.model.new_cache()
        return torch.cat([self.model(torch.tensor([[one]]), cache) for one in tokens])


class LlamaCpp:
    """llama.cpp through llama-cpp-python."""

    def __init__(self, path: Path) -> None:
        import llama_cpp

        threads = torch.get_num_threads()
        self.model = llama_cpp.Llama(
            str(path), n_ctx=2048, n_threads=threads, n_threads_batch=threads, verbose=False,
            logits_all=True,
        )  # fmt: skip

    def read(self, tokens: list[int]) -> Tensor:
        """A prompt; scores of the next token."""
        self.model.reset()
        self.model._logits_all = False
        self.model.eval(tokens)
        return self.last()

    def last(self) -> Tensor:
        """Scores of the next token."""
        scores = self.model._ctx.get_logits_ith(-1)
        size = self.model.n_vocab()
        return torch.frombuffer(
            ctypes.cast(scores, ctypes.POINTER(ctypes.c_float * size)).contents,
            dtype=torch.float32,
        ).clone()

    def write(self, count: int) -> None:
        """So many tokens, the likeliest each time; then what was read is as before."""
        length, token = self.model.n_tokens, 0
        for _ in range(count):
            self.model.eval([token])
            token = int(self.last().argmax())
        self.model.n_tokens = length  # eval forgets what stands after it

    def scores(self, tokens: list[int]) -> Tensor:
        """Of each next token."""
        self.model.reset()
        self.model._logits_all = True
        self.model.eval(tokens)
        return torch.from_numpy(self.model.scores[: len(tokens)].copy())


class Transformers:
    """transformers in bfloat16."""

    def __init__(self, path: Path) -> None:
        from transformers import AutoModelForCausalLM, logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self.model = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=torch.bfloat16
        ).eval()

    def read(self, tokens: list[int]) -> Tensor:
        """A prompt; scores of the next token."""
        from transformers import DynamicCache

        self.cache = DynamicCache()
        one = torch.tensor([tokens])
        out = self.model(input_ids=one, past_key_values=self.cache, logits_to_keep=1)
        return out.logits[0, -1].float()

    def write(self, count: int) -> None:
        """So many tokens, the likeliest each time; then what was read is as before."""
        length, token = self.cache.get_seq_length(), torch.zeros(1, 1, dtype=torch.long)
        for _ in range(count):
            out = self.model(input_ids=token, past_key_values=self.cache)
            token = out.logits[:, -1].argmax(dim=-1, keepdim=True)
        self.cache.crop(length - self.cache.get_seq_length())  # so many less

    def scores(self, tokens: list[int]) -> Tensor:
        """Of each next token."""
        return self.model(input_ids=torch.tensor([tokens])).logits[0].float()


def at_work(make: Callable[[Path], Any], path: Path, orders: Connection) -> None:
    """A process that makes a model and does what it is told."""
    with torch.inference_mode():
        model = make(path)
        while True:
            name, arguments = orders.recv()
            orders.send(getattr(model, name)(*arguments))


class Apart:
    """A model in a process of its own."""

    def __init__(self, make: Callable[[Path], Any], path: Path) -> None:
        self.name = make.__name__
        context = multiprocessing.get_context("spawn")
        self.orders, theirs = context.Pipe()
        context.Process(target=at_work, args=(make, path, theirs), daemon=True).start()
        theirs.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def ask(*arguments: Any) -> Any:
            self.orders.send((name, arguments))
            try:
                return self.orders.recv()
            except EOFError:
                raise RuntimeError(f"the process of {self.name} broke off in {name}") from None

        return ask


def requantised(path: Path, folder: Path) -> Path:
    """The file in Q4_0, as llama.cpp makes it."""
    import llama_cpp

    settings = llama_cpp.llama_model_quantize_default_params()
    settings.ftype, settings.allow_requantize = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0, True
    made = folder / "q4_0.gguf"
    code = llama_cpp.llama_model_quantize(
        str(path).encode(), str(made).encode(), ctypes.byref(settings)
    )
    assert code == 0, f"llama.cpp could not rewrite {path}"
    return made


def quality(models: dict[str, Any], path: Path, text: list[int], windows: int) -> None:
    """Print perplexity, and the error of scores against the weights in single precision."""
    whole, losses = read_llama(Gguf(path)), dict.fromkeys((*models, "float32"), 0.0)
    errors = dict.fromkeys(models, 0.0)
    for i in range(windows):
        tokens = text[i * WINDOW : (i + 1) * WINDOW]
        wanted = whole(torch.tensor([tokens])).logits[0]
        found = {name: model.scores(tokens) for name, model in models.items()}
        for name, scores in {**found, "float32": wanted}.items():
            losses[name] += float(F.cross_entropy(scores[:-1], torch.tensor(tokens[1:]))) / windows
        for name, scores in found.items():
            errors[name] += float((scores - wanted).square().mean()) / windows
    perplexities = {name: round(float(torch.tensor(x).exp()), 4) for name, x in losses.items()}
    rms = {name: round(x**0.5, 5) for name, x in errors.items()}
    print(json.dumps({"perplexity": perplexities, "rms_error_of_scores": rms}), flush=True)


@torch.inference_mode()
def main(*, rounds: int = 7, windows: int = 4) -> bool:
    """Perplexity, then reading, writing, and eight texts."""
    path = Path(smollm2.load())
    llm = LocalLlm(path)
    with tempfile.TemporaryDirectory() as folder:
        ours = Apart(Ours, path)
        theirs = Apart(Transformers, path)
        models: dict[str, Any] = {"orrery": ours, "transformers bfloat16": theirs}
        if importlib.util.find_spec("llama_cpp"):
            models["llama.cpp Q4_1"] = Apart(LlamaCpp, path)
            models["llama.cpp Q4_0"] = Apart(LlamaCpp, requantised(path, Path(folder)))
        else:
            print("llama-cpp-python is not installed: its rows are left out", flush=True)
        for model in models.values():  # each has read its file
            model.read([1, 2, 3])
    tokens = llm.tokenizer.encode(king_james.load()[:200_000])
    quality(models, path, tokens, windows)

    def timed(work: Callable[[Any], Any], names: list[str]) -> Any:
        contestants = {name: partial(work, models[name]) for name in names}
        return interleave(contestants, rounds=rounds, budget_seconds=240)

    prompt = tokens[:PROMPT]
    reading = timed(lambda model: model.read(prompt), list(models))
    reached = [
        report("3b", f"prompt of {PROMPT} tokens", reading, "orrery", 1.2, "tokens/s", PROMPT)
    ]
    for model in models.values():
        model.read(tokens[:16])
    writing = timed(lambda model: model.write(WRITTEN), list(models))
    limit = BANDWIDTH / llm.model.bytes
    for name in list(models)[1:]:
        goal = GOALS[name.split()[1]]
        reached.append(
            report("3a", f"{WRITTEN} tokens against {name}", writing, "orrery", goal, "tokens/s",
                   WRITTEN, limit=limit, peers=(name,))
        )  # fmt: skip
    ours.read(tokens[:16])
    contestants = {
        "one text": lambda: ours.write(TEXTS * WRITTEN // 2),
        "eight texts": lambda: ours.write_texts(WRITTEN // 2),
    }
    together = interleave(contestants, rounds=rounds, budget_seconds=240)
    reached.append(
        report("3c", f"{TEXTS} texts at once", together, "eight texts", 4.0, "tokens/s",
               TEXTS * WRITTEN // 2)
    )  # fmt: skip
    return all(reached)


if __name__ == "__main__":
    main()
