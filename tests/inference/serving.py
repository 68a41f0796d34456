"""A server on a tiny model, in a thread of the test's process, with the official client."""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterator

import httpx2
import openai

from orrery.cli.serve import LocalModel
from orrery.inference.serving.app import guarded_app
from orrery.inference.serving.listening import Server, listen
from orrery.inference.serving.service import Service
from orrery.systems.language.local_llm import LocalLlm
from tests.inference.tiny_gguf import CONFIG, tiny_llama, write_gguf

HI = [{"role": "user", "content": "hi the"}]


class TinyEmbedder:
    """A text becomes its length and how many of its letters are e."""

    name, longest = "letters", 40

    def tokens(self, text):
        return len(text)

    def embed(self, texts):
        import torch

        return torch.tensor([[float(len(text)), text.count("e")] for text in texts])


def tiny_file(folder, seed=4):
    config = dataclasses.replace(CONFIG, context=1024)
    return write_gguf(folder / "tiny.gguf", tiny_llama(seed), "Q4_1", config=config)


def tiny_model(folder, seed=4):
    path = tiny_file(folder, seed)
    return LocalModel(LocalLlm(path), path)


def tiny_service(folder, **sizes):
    return Service(tiny_model(folder), embedder=("letters", TinyEmbedder), **sizes)


class Running:
    """A server that answers, and a client of it."""

    def __init__(self, server, address, token):
        self.server, self.service, self.address = server, server.service, address
        key = token or "none"
        self.web = httpx2.Client(
            base_url=address, timeout=30, headers={"Authorization": f"Bearer {key}"}
        )
        self.client = openai.OpenAI(
            base_url=f"{address}/v1", api_key=key, max_retries=0, timeout=30
        )


@contextlib.contextmanager
def running(service, *, token=None, **options) -> Iterator[Running]:
    ready = threading.Event()
    with listen("127.0.0.1", 0) as sock:
        address = f"http://127.0.0.1:{sock.getsockname()[1]}"
        server = Server(guarded_app(service, token=token, **options), service, ready.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        assert ready.wait(20)
        one = Running(server, address, token)
        try:
            yield one
        finally:
            one.web.close()
            one.client.close()
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


class Unending:
    """A model whose texts never end by themselves, and whose steps may be made slow or to fail."""

    def __init__(self, model, end, seconds=0.0):
        self.model, self.end, self.seconds = model, end, seconds
        self.steps, self.broken = 0, False

    def new_cache(self):
        return self.model.new_cache()

    def __call__(self, tokens, cache):
        return self.bounded(self.model(tokens, cache))

    def write(self, tokens, caches):
        return self.bounded(self.model.write(tokens, caches))

    def bounded(self, scores):
        self.steps += 1
        time.sleep(self.seconds)
        if self.broken:
            raise RuntimeError("the step broke")
        scores[:, self.end] = -1e9
        return scores


def unending_service(folder, seconds, **sizes):
    model = tiny_model(folder)
    model.model = Unending(model.model, model.end, seconds)
    return Service(model, **sizes)


def until(true, seconds=10):
    """Wait for what becomes true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.01)
