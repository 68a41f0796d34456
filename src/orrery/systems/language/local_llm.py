"""A real language model on the machine at hand: one file in, conversations out.

The file (GGUF) holds weights in four bits, the tokeniser and the chat template. What was read
stays in the cache, so that an answer costs its own tokens and those of the last question, however
long the conversation has become.

Source: GGUF version 3 and the chat template in the file; Ben Allal et al. 2025, SmolLM2,
arXiv:2502.02737, for the model that comes with orrery.
Differs from the paper: weights in four bits, as the package brings them.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from orrery.catalog import System
from orrery.errors import OrreryError
from orrery.inference.batching import Batch, NewToken
from orrery.inference.causal_lm import CausalLm
from orrery.inference.chat_template import ChatTemplate, Message
from orrery.inference.decoding import Decoding
from orrery.inference.gguf import Gguf
from orrery.inference.grammars.grammar import Grammar
from orrery.inference.grammars.token_mask import GrammarConstraint, TokenMasks
from orrery.inference.grammars.token_trie import TokenTrie
from orrery.inference.step import PlaceCache
from orrery.inference.streaming import Pace, TextPieces, finish, stream
from orrery.nn.key_value_cache import KeyValueCache
from orrery.systems.language import compiled_llama
from orrery.systems.language.bpe_fast import FastBpe
from orrery.systems.language.compiled_llama import CompiledLlama
from orrery.systems.language.gguf_llama import read_llama, read_vocabulary
from orrery.systems.language.packed_llama import PackedLlama

SYSTEM = System(
    stem="local_llm", area="language", title="A language model on this machine", year=2023,
    papers=("arXiv:2502.02737",),
    builds_on=("bpe_fast", "compiled_llama", "gguf_llama", "packed_llama"),
    realises=("local-deployment",),
)  # fmt: skip


GRAMMARS = 8  # whose masks are kept; the oldest are given up


@dataclass(slots=True)
class Read:
    """What the model has read: the tokens, and the cache that remembers them."""

    cache: KeyValueCache | PlaceCache
    tokens: list[int] = field(default_factory=list)

    def take(self, rows: Tensor) -> None:
        """Go on with these rows."""
        self.cache.take(rows)

    def keep(self, tokens: Sequence[int]) -> int:
        """Forget all but the beginning that is also `tokens`' beginning; its length.

        At least one of `tokens` is left to be read, for its scores are wanted.
        """
        pairs = zip(self.tokens, tokens[:-1], strict=False)
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        self.tokens = self.tokens[:common]
        self.cache.cut(common)
        return common


class LocalLlm:
    """A model, its tokeniser and its template."""

    def __init__(self, path: str | Path) -> None:
        """Open a file.

        Raises:
            OrreryError: it cannot be read or is not of a kind that is known.
        """
        file = Gguf(path)
        self.file = file
        self.name = file.setting("general.name", str, Path(path).stem)
        self.model: Any = CompiledLlama(file) if compiled_llama.available() else PackedLlama(file)
        self.tokenizer = FastBpe(read_vocabulary(file))
        self.end = file.setting("tokenizer.ggml.eos_token_id", int)
        source = file.settings.get("tokenizer.chat_template")
        self.template = ChatTemplate(source) if isinstance(source, str) else None
        self._trie: TokenTrie | None = None
        self._masks = dict[Grammar, TokenMasks]()

    @property
    def context(self) -> int:
        """Longest text, its answer included, that the model was made for."""
        return self.model.config.context

    def weights(self) -> CausalLm:
        """The model in single precision, to be trained; what is learnt does not change this one."""
        return read_llama(self.file)

    def nothing_read(self) -> Read:
        """Where a text begins."""
        return Read(self.model.new_cache())

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of a conversation, up to where the answer begins.

        Raises:
            OrreryError: the file has no chat template, or it refuses the messages.
        """
        if self.template is None:
            raise OrreryError(
                f"{self.name} has no chat template; only plain text can be written on"
            )
        return self.tokenizer.encode(self.template.render(messages))

    def write(
        self,
        prompt: Sequence[int],
        *,
        read: Read | None = None,
        stops: Sequence[str] = (),
        pace: Pace | None = None,
        generator: torch.Generator | None = None,
        grammar: Grammar | None = None,
        **options: object,
    ) -> Iterator[str]:
        """The answer, piece by piece.

        Args:
            prompt: tokens.
            read: what was read before; only what is new is read, and it is brought up to date.
            stops: the answer ends before the first of these.
            pace: filled with how long it took.
            generator: the source of chance of `do_sample`.
            grammar: what the answer must be.
            options: of `Decoding`.

        Raises:
            OrreryError: the prompt leaves no room for an answer.
            ValueError: an option is out of range, `stops` could cut what the grammar asks for, or
                no answer that fits it is so short.
        """
        if grammar is not None and stops:
            raise ValueError("stops must be empty with a grammar")
        how, pace = self.how(prompt, options), Pace() if pace is None else pace
        constraint = self.constraint(grammar, how.max_new_tokens)
        read = self.nothing_read() if read is None else read
        fresh = list(prompt[read.keep(prompt) :])
        pieces = TextPieces(stops)
        tokens = stream(
            self._step, read, fresh, how, generator=generator, pace=pace, constraint=constraint
        )
        for token in tokens:
            data = b"" if token == self.end else self.tokenizer.vocabulary.bytes_of(token)
            piece = pieces.push(data)
            if piece:
                yield piece
            if pieces.stopped:
                pace.finish = "stop"
                return
        rest = pieces.push(b"", last=True)
        if rest:
            yield rest

    def best_of(
        self,
        count: int,
        prompt: Sequence[int],
        *,
        seed: int = 0,
        pace: Pace | None = None,
        grammar: Grammar | None = None,
        **options: object,
    ) -> str:
        """Of so many answers drawn, the one whose tokens are likeliest on average.

        Args:
            count: answers, written side by side; the prompt is read once.
            prompt: tokens.
            seed: of the first; each further one has the next.
            pace: filled with how long all of them took.
            grammar: what each answer must be.
            options: of `Decoding`.

        Raises:
            OrreryError: the prompt leaves no room for an answer.
            ValueError: an option is out of range, count is below 1, or no answer that fits the
                grammar is so short.
        """
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        how, pace = self.how(prompt, options), Pace() if pace is None else pace
        batch, answers = Batch(self.model), defaultdict[int, list[NewToken]](list)
        constraints = dict[int, GrammarConstraint | None]()
        for i in range(count):
            constraint = self.constraint(grammar, how.max_new_tokens)
            constraints[batch.add(prompt, how, seed=seed + i, constraint=constraint)] = constraint
        start = time.perf_counter()
        for one in batch.run():
            answers[one.text].append(one)
            pace.tokens += 1
            if pace.tokens == 1:
                pace.prefill_seconds = time.perf_counter() - start
        pace.prompt_tokens = batch.read
        pace.decode_seconds = time.perf_counter() - start - pace.prefill_seconds
        best = max(answers.values(), key=lambda answer: fmean(one.chance for one in answer))
        pace.finish = finish(best[-1].token == self.end, constraints[best[-1].text])
        tokens = [one.token for one in best if one.token != self.end]
        return self.tokenizer.decode(tokens)

    def how(self, prompt: Sequence[int], options: Mapping[str, object]) -> Decoding:
        """The choices of an answer, once it is sure that there is room for it.

        Raises:
            OrreryError: there is not.
            ValueError: an option is out of range.
        """
        how = Decoding(eos_token_id=self.end, **options)  # type: ignore[arg-type]
        if len(prompt) + how.max_new_tokens > self.context:
            raise OrreryError(
                f"the text has {len(prompt)} tokens and the answer up to {how.max_new_tokens}; "
                f"together at most {self.context} are allowed"
            )
        return how

    def constraint(self, grammar: Grammar | None, most: int) -> GrammarConstraint | None:
        """What keeps a text of so many tokens at most within a grammar; the masks are shared.

        Raises:
            ValueError: no text that fits is so short.
        """
        if grammar is None:
            return None
        if grammar not in self._masks:
            if self._trie is None:
                special = {*self.tokenizer.vocabulary.specials.values(), self.end}
                known = self.tokenizer.vocabulary.tokens.items()
                tokens = {number: data for number, data in known if number not in special}
                self._trie = TokenTrie(tokens, self.model.config.vocab)
            self._masks[grammar] = TokenMasks(grammar, self._trie, [self.end])
            while len(self._masks) > GRAMMARS:
                del self._masks[next(iter(self._masks))]
        return self._masks[grammar].begin(most)

    def _step(self, fresh: Tensor, read: Read) -> Tensor:
        scores = self.model(fresh, read.cache)
        read.tokens += fresh[0].tolist()
        return scores
