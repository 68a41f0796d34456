"""What encoder-decoders of the published layout share: forward, loss, and writing an answer."""

from abc import abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from orrery.inference.decoding import Decoding, Written
from orrery.inference.generation import SourceState, write
from orrery.nn.attention import padding_bias
from orrery.nn.key_value_cache import KeyValueCache
from orrery.nn.multi_head import Map
from orrery.nn.outputs import LanguageModelOutput
from orrery.nn.pretrained import Pretrained

Tokens = Int[Tensor, "b t"]
SourceTokens = Int[Tensor, "b s"]
Read = Float[Tensor, "b s d"]
IGNORED = -100  # a target that does not count


class EncoderDecoder(Pretrained):
    """Reads a source, writes a target."""

    @property
    @abstractmethod
    def start(self) -> int:
        """The token that a target begins with."""

    @abstractmethod
    def encode(
        self,
        input_ids: SourceTokens,
        seen: SourceTokens | None = None,
        *,
        maps: list[Map] | None = None,
    ) -> Read:
        """A vector for each token of the source; padding (0 in `seen`) is not looked at."""

    @abstractmethod
    def decode(
        self,
        target: Tokens,
        source: Read,
        seen: SourceTokens | None = None,
        *,
        own: KeyValueCache | None = None,
        across: KeyValueCache | None = None,
        own_bias: Tensor | None = None,
        maps: list[Map] | None = None,
    ) -> Float[Tensor, "b t v"]:
        """Scores of the next token; with caches, `target` is only what they have not seen.

        Args:
            target: what was written so far.
            source: what `encode` made.
            seen: 1 at the source's tokens that count.
            own: cache of the target.
            across: cache of the source.
            own_bias: added to the scores of the target's attention to itself.
            maps: takes the weights of the attention to the source.
        """

    def forward(
        self,
        input_ids: SourceTokens,
        attention_mask: SourceTokens | None = None,
        decoder_input_ids: Tokens | None = None,
        decoder_attention_mask: Tokens | None = None,
        *,
        maps: bool = False,
    ) -> LanguageModelOutput:
        """Scores of the next token of the target at every position.

        Args:
            input_ids: the source.
            attention_mask: 1 at its tokens that count, 0 at padding.
            decoder_input_ids: the target; only the token it begins with, if not given.
            decoder_attention_mask: as that of the source.
            maps: also give the weights of the decoder's attention to the source, layer by layer.
        """
        source = self.encode(input_ids, attention_mask)
        target = decoder_input_ids
        if target is None:
            target = input_ids.new_full((len(input_ids), 1), self.start)
        bias = None
        if decoder_attention_mask is not None:
            bias = padding_bias(decoder_attention_mask, source)
        kept: list[Map] | None = [] if maps else None
        logits = self.decode(target, source, attention_mask, own_bias=bias, maps=kept)
        return LanguageModelOutput(logits=logits, maps=tuple(kept or ()))

    def loss(
        self, input_ids: SourceTokens, targets: Tokens, attention_mask: SourceTokens | None = None
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy of the targets, in nats; where a target is -100 it does not count."""
        begun = targets.roll(1, dims=1).clone()
        begun[:, 0] = self.start
        begun = begun.masked_fill(begun == IGNORED, self.start)
        logits = self(input_ids, attention_mask, begun).logits
        return F.cross_entropy(
            logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED
        )

    @torch.no_grad()
    def generate(
        self,
        input_ids: SourceTokens,
        attention_mask: SourceTokens | None = None,
        *,
        generator: torch.Generator | None = None,
        **options: Any,
    ) -> Written:
        """Targets, each after the token that it begins with; `options` are those of `Decoding`.

        Raises:
            ValueError: an option is out of range.
        """

        def step(fresh: Tokens, state: SourceState) -> Float[Tensor, "b v"]:
            scores = self.decode(
                fresh, state.source, state.seen, own=state.own, across=state.across
            )
            return scores[:, -1]

        state = SourceState(source=self.encode(input_ids, attention_mask), seen=attention_mask)
        begun = input_ids.new_full((len(input_ids), 1), self.start)
        return write(step, state, begun, Decoding(**options), generator=generator)
