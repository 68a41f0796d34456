"""`orrery generate PROMPT`: a real language model answers, on this machine."""

import math
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orrery.cli.parser import Parser, print_json
from orrery.errors import OrreryError, UsageError

if TYPE_CHECKING:
    from orrery.inference.grammars.grammar import Grammar
    from orrery.inference.streaming import Pace
    from orrery.systems.language.local_llm import LocalLlm

EXAMPLES = (
    'orrery generate "What is the capital of France?"',
    'orrery generate "Once upon a time" --plain --temperature 0.8 --seed 1',
    "git diff | orrery generate - --max-tokens 100 --json",
    'orrery generate "Is 91 a prime?" --regex "(yes|no), because [^.]{1,100}[.]"',
    'orrery generate "Describe a dog as JSON." --schema dog.json',
)

LARGEST = 1_000_000
"""Most characters of a schema."""


def main(argv: list[str]) -> int:
    """Answer one prompt; returns 0."""
    parser = Parser("generate", "Have a language model write. It is read from one file.", EXAMPLES)
    parser.add_argument("prompt", metavar="PROMPT", help="the question; - reads standard input")
    parser.add_argument("--plain", action="store_true", help="write on, do not answer")
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT", help="ends it")
    parser.add_argument(
        "--best-of", type=int, default=1, metavar="N", help="draw N answers, show the likeliest one"
    )
    parser.add_argument(
        "--schema", type=Path, metavar="FILE", help="JSON Schema; the answer is JSON that fits it"
    )
    parser.add_argument("--regex", metavar="PATTERN", help="the whole answer matches it")
    add_options(parser)
    parser.add_argument("--json", action="store_true", help="print an object at the end")
    chosen = parser.parse_args(argv)
    options = checked(chosen)
    text = chosen.prompt
    if text == "-":
        text = sys.stdin.buffer.read().decode(errors="replace")
    if not text:
        raise UsageError("PROMPT must not be empty")
    if "" in chosen.stop:
        raise UsageError("--stop must not be empty")
    if chosen.best_of > 1 and not (chosen.temperature > 0 and not chosen.stop):
        raise UsageError("--best-of draws answers: it needs --temperature above 0, and no --stop")
    if chosen.best_of < 1:
        raise UsageError(f"--best-of must be at least 1, got {chosen.best_of}")
    options["grammar"] = grammar(chosen)
    model = opened(chosen.model)

    import torch

    from orrery.inference.streaming import Pace

    messages = [{"role": "system", "content": chosen.system}] if chosen.system else []
    messages.append({"role": "user", "content": text})
    prompt = model.tokenizer.encode(text) if chosen.plain else model.prompt(messages)
    pace, pieces = Pace(), list[str]()
    if chosen.best_of > 1:
        best = model.best_of(chosen.best_of, prompt, seed=chosen.seed, pace=pace, **options)
        answer: Iterator[str] = iter([best])
    else:
        generator = torch.Generator().manual_seed(chosen.seed)
        answer = model.write(prompt, stops=chosen.stop, pace=pace, generator=generator, **options)
    for piece in answer:
        pieces.append(piece)
        if not chosen.json:
            print(piece, end="", flush=True)
    if chosen.json:
        print_json({"text": "".join(pieces), **figures(pace)})
    else:
        print()
        print(line(pace), file=sys.stderr)
    return 0


def add_options(parser: Parser) -> None:
    """What `generate` and `chat` both take."""
    parser.add_argument("--max-tokens", type=int, default=256, metavar="N", help="default 256")
    parser.add_argument(
        "--temperature", type=float, default=0.0, metavar="T",
        help="0 (default) takes the likeliest token; above, tokens are drawn",
    )  # fmt: skip
    parser.add_argument("--top-p", type=float, default=1.0, metavar="P", help="default 1")
    parser.add_argument("--top-k", type=int, metavar="K", help="default: all")
    parser.add_argument(
        "--min-p", type=float, metavar="P", help="of the likeliest token's chance; default: none"
    )
    parser.add_argument(
        "--repetition-penalty", type=float, default=1.0, metavar="R",
        help="above 1, tokens that stand in the text get less likely",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the draws")
    parser.add_argument("--system", default="", metavar="TEXT", help="said before all else")
    parser.add_argument(
        "--model", type=Path, metavar="FILE", help="GGUF; SmolLM2-135M-Instruct if not given"
    )


def checked(chosen: Any) -> dict[str, Any]:
    """The options of a decoding.

    Raises:
        UsageError: one is out of range.
    """
    if chosen.max_tokens < 1:
        raise UsageError(f"--max-tokens must be at least 1, got {chosen.max_tokens}")
    if not (math.isfinite(chosen.temperature) and chosen.temperature >= 0):
        raise UsageError(f"--temperature must be at least 0, got {chosen.temperature}")
    if not 0 < chosen.top_p <= 1:
        raise UsageError(f"--top-p must be in (0, 1], got {chosen.top_p}")
    if chosen.top_k is not None and chosen.top_k < 1:
        raise UsageError(f"--top-k must be at least 1, got {chosen.top_k}")
    if chosen.min_p is not None and not 0 <= chosen.min_p <= 1:
        raise UsageError(f"--min-p must be in [0, 1], got {chosen.min_p}")
    if not (math.isfinite(chosen.repetition_penalty) and chosen.repetition_penalty > 0):
        raise UsageError(f"--repetition-penalty must be above 0, got {chosen.repetition_penalty}")
    if not 0 <= chosen.seed < 2**63:
        raise UsageError(f"--seed must be in [0, 2^63), got {chosen.seed}")
    options: dict[str, Any] = {
        "max_new_tokens": chosen.max_tokens, "repetition_penalty": chosen.repetition_penalty,
    }  # fmt: skip
    if chosen.temperature > 0:
        options |= {
            "do_sample": True, "temperature": chosen.temperature, "top_p": chosen.top_p,
            "top_k": chosen.top_k, "min_p": chosen.min_p,
        }  # fmt: skip
    return options


def grammar(chosen: Any) -> "Grammar | None":
    """What the answer must be, by --schema or --regex.

    Raises:
        UsageError: it cannot be read, is not supported, or goes with another option.
    """
    from orrery.inference.grammars import json_grammar
    from orrery.inference.grammars.grammar import matching

    if chosen.schema is None and chosen.regex is None:
        return None
    if chosen.schema is not None and chosen.regex is not None:
        raise UsageError("--schema and --regex exclude one another")
    if chosen.stop:
        raise UsageError("--stop would cut what --schema or --regex asks for")
    try:
        if chosen.regex is not None:
            return matching(chosen.regex)
        with chosen.schema.open(encoding="utf-8") as file:
            text = file.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise UsageError(f"it has more than {LARGEST} characters")
        return json_grammar.read(text)
    except (OSError, ValueError) as error:
        what = "--regex" if chosen.schema is None else f"--schema {chosen.schema}"
        said = getattr(error, "strerror", None) or error
        raise UsageError(f"{what}: {said}") from None


def opened(path: Path | None) -> "LocalLlm":
    """The model in a file, or the one that is fetched with a data set.

    Raises:
        OrreryError: it cannot be had or read.
    """
    from orrery.data import smollm2
    from orrery.systems.language.local_llm import LocalLlm

    if path is None:
        print("reading SmolLM2-135M-Instruct", file=sys.stderr)
        return LocalLlm(smollm2.load())
    if not path.is_file():
        raise OrreryError(f"{path} is not a file")
    print(f"reading {path}", file=sys.stderr)
    return LocalLlm(path)


def figures(pace: "Pace") -> dict[str, Any]:
    """How long it took and what it took, for machines."""
    return {
        "tokens": pace.tokens,
        "prompt_tokens": pace.prompt_tokens,
        "prefill_tokens_per_second": pace.prefill_rate,
        "decode_tokens_per_second": pace.decode_rate,
        "finish_reason": pace.finish,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def line(pace: "Pace") -> str:
    """The same for people."""
    megabytes = figures(pace)["peak_memory_bytes"] / 1e6
    return (
        f"{pace.prompt_tokens} tokens read at {pace.prefill_rate:.0f} a second, "
        f"{pace.tokens} written at {pace.decode_rate:.0f} a second, {megabytes:.0f} MB"
    )
