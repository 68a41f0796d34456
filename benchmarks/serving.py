"""Load on `orrery serve`: many clients at once, who must all be served alike and without an error.

The server is a process of its own. Each client asks, reads the stream to its end and asks again;
prompts and lengths differ. Where the queue is full it waits as long as it is told to. Memory is
the server's, when a quarter of the time has passed and at the end.
"""

import argparse
import asyncio
import contextlib
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "saw", "that", "it", "was", "good", "too")
CHAT = "/chat/completions"


@dataclass
class Heard:
    """What one client saw; times are seconds."""

    first: list[float] = field(default_factory=list)
    """Until the first token of each answer."""
    whole: list[float] = field(default_factory=list)
    tokens: int = 0
    busy: int = 0
    """Times that the queue was full."""
    errors: Counter[str] = field(default_factory=Counter)


@contextlib.contextmanager
def served(model: Path | None, texts: int, queue: int) -> Iterator[tuple[subprocess.Popen, dict]]:
    """A server's process, and what it says when it is ready."""
    argv = ["serve", "--port", "0", "--json", "--texts", str(texts), "--queue", str(queue)]
    argv += ["--model", str(model)] if model else []
    process = subprocess.Popen(
        [sys.executable, "-m", "orrery", *argv], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
    finally:
        process.terminate()
        print(f"exit code {process.wait(30)}")


def memory(process: subprocess.Popen) -> float:
    """Megabytes that the server holds."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


async def ask(web: httpx2.AsyncClient, model: str, chance: random.Random, heard: Heard) -> None:
    """Ask once and read the answer."""
    text = " ".join(chance.choices(WORDS, k=chance.randint(3, 40)))
    body = {
        "model": model, "messages": [{"role": "user", "content": text}], "stream": True,
        "max_tokens": chance.randint(4, 32), "seed": chance.randrange(2**31),
        "stream_options": {"include_usage": True},
    }  # fmt: skip
    start, first, usage = time.monotonic(), None, None
    async with web.stream("POST", CHAT, json=body) as answer:
        if answer.status_code == 429:
            heard.busy += 1
            await asyncio.sleep(float(answer.headers["retry-after"]))
            return
        if answer.status_code != 200:
            heard.errors[str(answer.status_code)] += 1
            return
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                event = json.loads(line[6:])
                usage = event.get("usage") or usage
                if "error" in event:
                    heard.errors[event["error"]["code"]] += 1
                    return
                if (
                    first is None
                    and event["choices"]
                    and event["choices"][0]["delta"].get("content")
                ):
                    first = time.monotonic() - start
    if usage is None:
        heard.errors["no end"] += 1
        return
    heard.tokens += usage["completion_tokens"]
    heard.whole.append(time.monotonic() - start)
    heard.first += [first] if first is not None else []


async def client(address: str, model: str, seed: int, end: float) -> Heard:
    """One client, until time is up."""
    heard, chance = Heard(), random.Random(seed)
    async with httpx2.AsyncClient(base_url=address, timeout=120) as web:
        while time.monotonic() < end:
            try:
                await ask(web, model, chance, heard)
            except httpx2.HTTPError as error:
                heard.errors[type(error).__name__] += 1
    return heard


async def load(process: subprocess.Popen, ready: dict, clients: int, seconds: float) -> list:
    """All clients; what they heard, and the memory at a quarter of the time and at the end."""
    end, model = time.monotonic() + seconds, ready["models"][0]
    tasks = [asyncio.create_task(client(ready["address"], model, i, end)) for i in range(clients)]
    await asyncio.sleep(seconds / 4)
    early = memory(process)
    heard = await asyncio.gather(*tasks)
    return [heard, early, memory(process)]


def table(heard: list[Heard], early: float, late: float, seconds: float) -> bool:
    """Print what was seen; whether no request failed."""
    first = sorted(one for each in heard for one in each.first)
    whole = sorted(one for each in heard for one in each.whole)
    errors = sum((each.errors for each in heard), Counter())
    counts = [len(each.whole) for each in heard]
    waits = [statistics.median(each.whole) for each in heard if each.whole]
    if not first:
        print(f"no answer came; errors: {dict(errors)}")
        return False
    rows = {
        "answers": f"{len(whole)}, {len(whole) / seconds:.1f} a second",
        "tokens written": f"{sum(each.tokens for each in heard) / seconds:.0f} a second",
        "errors": f"{errors.total()} {dict(errors) or ''}",
        "queue full": f"{sum(each.busy for each in heard)} times",
        "first token": f"median {statistics.median(first):.2f} s, "
        f"95 % {first[int(0.95 * len(first))]:.2f} s, worst {first[-1]:.2f} s",
        "whole answer": f"median {statistics.median(whole):.2f} s, "
        f"95 % {whole[int(0.95 * len(whole))]:.2f} s, worst {whole[-1]:.2f} s",
        "answers a client": f"fewest {min(counts)}, most {max(counts)}",
        "median wait": f"luckiest client {min(waits):.2f} s, unluckiest {max(waits):.2f} s",
        "memory": f"{early:.0f} MB at a quarter, {late:.0f} at the end ({late / early - 1:+.1%})",
    }
    for name, text in rows.items():
        print(f"{name:<17} {text}")
    return not errors


def main() -> int:
    """Print the table; returns 1 where a request failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--texts", type=int, default=8)
    parser.add_argument("--queue", type=int, default=64)
    parser.add_argument("--model", type=Path, help="GGUF; SmolLM2-135M-Instruct if not given")
    parser.add_argument("--tiny", action="store_true", help="a random model of two layers")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = chosen.model
        if chosen.tiny:
            from tests.inference.serving import tiny_file

            model = tiny_file(Path(folder))
        with served(model, chosen.texts, chosen.queue) as (process, ready):
            seen = asyncio.run(load(process, ready, chosen.clients, chosen.seconds))
            print(f"{chosen.clients} clients, {chosen.seconds:.0f} s, {ready['models'][0]}")
            well = table(*seen, seconds=chosen.seconds)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
