"""Llama out of a GGUF file, its step compiled: the fast way to write on a processor.

Maps stored in Q4_0, Q4_1 or Q8_0 keep the file's own numbers; maps stored in another way are
rounded to eight bits with a scale for 32 neighbours. Activations are rounded to fifteen bits
before each product, keys and values are kept in half precision, all else is in single precision.

Source: `orrery.systems.language.gguf_llama` for the file, `orrery.inference.step` for the step.
Differs from the papers: numbers of fewer bits, as said.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from orrery.catalog import System
from orrery.errors import OrreryError
from orrery.inference.gguf import Gguf
from orrery.inference.step import (
    GROUP,
    Arena,
    Matrix,
    PlaceCache,
    Step,
    StepLayer,
    StepSizes,
    StoredMap,
    library,
)
from orrery.systems.language.gguf_llama import halves_of_pairs, read_config

SYSTEM = System(
    stem="compiled_llama", area="language", title="Llama with a compiled step", year=2023,
    papers=("GGUF version 3",), builds_on=("gguf_llama",),
)  # fmt: skip

Tokens = Int[Tensor, "1 t"]
Scores = Float[Tensor, "b v"]
AS_STORED = {"Q4_0", "Q4_1", "Q8_0"}


def available() -> bool:
    """Whether the package was built with a C compiler."""
    return library() is not None


class CompiledLlama:
    """A Llama to write with: tokens and a cache in, scores of the next token out."""

    def __init__(self, file: Gguf, *, threads: int | None = None, kernels: str = "tiles") -> None:
        """Pack the weights of a file.

        Args:
            file: a Llama.
            threads: that work on a token; torch's number if not given.
            kernels: the best of `inference.step.KERNELS` to use.

        Raises:
            OrreryError: it is no Llama, a size does not suit the step, or there is no compiler's
                work to use.
        """
        self.file, self.config = file, read_config(file)
        c = self.config
        if c.width % GROUP or c.inner % GROUP or c.size % 2:
            raise OrreryError(
                f"{file.path}: width and inner must be multiples of {GROUP} and heads of "
                f"an even size for the compiled step, got {c.width}, {c.inner} and {c.size}"
            )
        sizes = StepSizes(
            width=c.width, heads=c.heads, key_heads=c.key_heads, head_size=c.size, inner=c.inner,
            vocab=c.vocab, context=c.context, epsilon=c.epsilon,
        )  # fmt: skip
        self.arena = Arena()
        layers = [self.layer(f"blk.{i}.") for i in range(c.depth)]
        head = self.matrix(c.width, {"token_embd" if c.tied else "output": c.vocab})
        places = torch.arange(c.context)
        self.step = Step(
            sizes, layers, self.gain("output_norm"), head, c.rope.tables(places, c.size, c.context),
            threads=threads or torch.get_num_threads(), kernels=kernels,
        )  # fmt: skip

    def layer(self, at: str) -> StepLayer:
        """The weights of a layer."""
        c = self.config
        asked, offered = c.heads * c.size, c.key_heads * c.size
        attention = {at + "attn_q": asked, at + "attn_k": offered, at + "attn_v": offered}
        gates = {at + "ffn_gate": c.inner, at + "ffn_up": c.inner}
        return StepLayer(
            norm_attention=self.gain(at + "attn_norm"),
            norm_feed_forward=self.gain(at + "ffn_norm"),
            qkv=self.matrix(c.width, attention),
            out=self.matrix(asked, {at + "attn_output": c.width}),
            gate_up=self.matrix(c.width, gates, in_turn=True),
            down=self.matrix(c.inner, {at + "ffn_down": c.width}),
        )

    def gain(self, name: str) -> Float[Tensor, " d"]:
        """A norm's gain."""
        self.check(f"{name}.weight", (self.config.width,))
        return self.file.tensor(f"{name}.weight")

    def matrix(self, columns: int, rows: Mapping[str, int], *, in_turn: bool = False) -> Matrix:
        """Maps of one input, in one piece; `rows` of each by its name."""
        formats = {self.check(f"{name}.weight", (n, columns)) for name, n in rows.items()}
        as_stored = len(formats) == 1 and formats <= AS_STORED
        maps = []
        for name, count in rows.items():
            order = torch.arange(count)[:, None]
            if name.endswith(("attn_q", "attn_k")):
                order = halves_of_pairs(order, count // self.config.size, self.file)
            read = self.file.blocks if as_stored else self.file.tensor
            maps.append(StoredMap(stored=read(f"{name}.weight"), order=order[:, 0]))
        try:
            return Matrix(maps, columns, in_turn=in_turn, arena=self.arena)
        except OrreryError as error:
            raise OrreryError(f"{self.file.path}: {', '.join(rows)}: {error}") from None

    def check(self, name: str, shape: tuple[int, ...]) -> str:
        """The format of a tensor, which must have this shape."""
        stored = self.file.tensors.get(name)
        if stored is None or stored.shape != shape:
            found = "is missing" if stored is None else f"has {stored.shape}"
            raise OrreryError(f"{self.file.path} is refused: {name} must have {shape}, {found}")
        return stored.format.name

    @property
    def bytes(self) -> int:
        """What the weights take in memory; the table of embeddings is read from the file."""
        return self.step.bytes

    def new_cache(self) -> PlaceCache:
        """Of a text that begins."""
        return self.step.new_cache()

    def embeddings(self, tokens: Int[Tensor, " t"]) -> Float[Tensor, "t d"]:
        """The vectors of tokens, out of the file.

        Raises:
            ValueError: a token is none of the vocabulary.
        """
        if not 0 <= int(tokens.min()) <= int(tokens.max()) < self.config.vocab:
            raise ValueError(f"tokens must be from 0 to {self.config.vocab - 1}, got {tokens}")
        stored = self.file.tensors["token_embd.weight"]
        rows = self.file.blocks("token_embd.weight").unflatten(0, (self.config.vocab, -1))[tokens]
        return stored.format.unpack(rows.flatten(0, 1)).reshape(len(tokens), -1)

    def write(self, tokens: Int[Tensor, " b"], caches: Sequence[PlaceCache]) -> Scores:
        """One more token of each text; scores of the next ones.

        Raises:
            ValueError: a token is none of the vocabulary, or a text is longer than the context.
        """
        return self.step.write(self.embeddings(tokens), caches)

    def __call__(self, tokens: Tokens, cache: PlaceCache) -> Scores:
        """Scores of the token after the last of `tokens`, which the cache has not seen.

        Raises:
            ValueError: a token is none of the vocabulary, or the text is longer than the context.
        """
        return self.step.read(self.embeddings(tokens[0]), cache)
