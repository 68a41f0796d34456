"""`orrery pretrain [FILE ...]`: a small language model from raw text, stage by stage."""

import json
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orrery.cli.compress import read
from orrery.cli.parser import Parser, print_json
from orrery.errors import OrreryError, UsageError

if TYPE_CHECKING:
    from orrery.systems.language.gpt import Gpt
    from orrery.systems.language.small_lm import Prepared, SmallLmConfig, Stages

EXAMPLES = (
    "orrery pretrain --out shakespeare-lm --steps 300",
    "orrery pretrain notes.txt letters.txt --out mine --minutes 10",
)
RATE = 0.01
SIZES = ("vocab", "context", "depth", "heads", "width", "seed")


def main(argv: list[str]) -> int:
    """Go through the stages that are not done yet; returns 0."""
    chosen = _parser().parse_args(argv)
    for name in ("steps", "batch", "minutes"):
        value = getattr(chosen, name)
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise UsageError(f"--{name} must be above 0, got {value}")
    sources = {str(path): read(path) for path in chosen.files}
    end = time.monotonic() + 60 * chosen.minutes if chosen.minutes else None

    from orrery.data import shakespeare
    from orrery.systems.language.small_lm import SmallLmConfig, Stages, model_card

    sizes = {name: getattr(chosen, name) for name in SIZES if getattr(chosen, name) is not None}
    try:
        config = SmallLmConfig(**sizes)
    except ValueError as error:
        raise UsageError(str(error)) from None
    stages = Stages(chosen.out)
    text = decoded(sources) if sources else shakespeare.load()
    prepared, inputs = prepared_in(stages, text, config)
    inputs = [*inputs, chosen.steps, chosen.batch]
    model, sample, measured = learnt_in(stages, prepared, config, inputs, end)
    card = stages.made(
        "MODEL_CARD.md", [*inputs, measured, sample],
        lambda: model_card(config, prepared, measured, sample),
    )  # fmt: skip
    weights = sum(p.numel() for p in model.parameters())
    if chosen.json:
        print_json({"folder": str(chosen.out), "weights": weights, **measured})
    else:
        print(card.decode())
        print(f"{weights:,} weights, in {chosen.out}")
    return 0


def _parser() -> Parser:
    parser = Parser(
        "pretrain",
        "Make a small language model from raw text: clean, tokenise, train, evaluate.\n"
        "The same command goes on where it was stopped.",
        EXAMPLES,
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE",
                        help="text in UTF-8; default: the works of Shakespeare")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="new, or ours")
    parser.add_argument("--steps", type=int, default=300, help="of the optimiser; default 300")
    parser.add_argument("--batch", type=int, default=8, help="windows in a batch; default 8")
    parser.add_argument("--minutes", type=float, help="stop for now after so long")
    for name in SIZES:
        parser.add_argument(f"--{name}", type=int, metavar="N")
    parser.add_argument("--json", action="store_true", help="print an object")
    return parser


def decoded(sources: dict[str, bytes]) -> str:
    """The files' text, one after another.

    Raises:
        OrreryError: a file is not UTF-8.
    """
    texts = []
    for path, raw in sources.items():
        try:
            texts.append(raw.decode())
        except UnicodeDecodeError as error:
            raise OrreryError(f"{path} is not text in UTF-8: {error}") from None
    return "\n".join(texts)


def prepared_in(
    stages: "Stages", text: str, config: "SmallLmConfig"
) -> tuple["Prepared", list[Any]]:
    """Collect, clean and tokenise, each a file; also what later stages depend on."""
    from dataclasses import asdict

    from orrery.files import sha256
    from orrery.systems.language.bpe import BpeConfig
    from orrery.systems.language.bpe_trainer import train
    from orrery.systems.language.small_lm import clean, documents_of, tokenised
    from orrery.systems.language.tokenizer_json import object_of, vocabulary_of

    inputs = [sha256(text.encode()), asdict(config)]
    raw = stages.made(
        "documents.json", inputs, lambda: json.dumps(documents_of(text, config.document))
    )
    cleaned = stages.made("clean.json", inputs, lambda: json.dumps(clean(json.loads(raw), config)))
    parts = json.loads(cleaned)
    tokens = stages.made(
        "tokenizer.json", inputs,
        lambda: json.dumps(object_of(train(parts["training"], BpeConfig(vocab=config.vocab)))),
    )  # fmt: skip
    vocabulary: Any = vocabulary_of(json.loads(tokens))
    return tokenised(parts, vocabulary), inputs


def learnt_in(
    stages: "Stages", prepared: "Prepared", config: "SmallLmConfig", inputs: list[Any],
    end: float | None,
) -> tuple["Gpt", str, dict[str, float]]:  # fmt: skip
    """Train, evaluate and sample, each a file."""
    import torch
    from safetensors.torch import load, save

    from orrery.systems.language.bpe_fast import FastBpe
    from orrery.systems.language.gpt import Gpt
    from orrery.systems.language.small_lm import bits_per_byte, ngram_bits_per_byte

    steps, batch = inputs[-2:]
    torch.manual_seed(config.seed)
    model = Gpt(config.gpt(max(prepared.vocabulary.tokens) + 1))

    def weights() -> bytes:
        train(model, prepared, inputs, stages.folder / "training", end)
        return save(dict(model.state_dict()))

    model.load_state_dict(load(stages.made("model.safetensors", inputs, weights)))
    model.eval()

    def evaluation() -> str:
        read = steps * batch * config.context
        return json.dumps({
            "bits a byte": bits_per_byte(model, prepared.held_out, prepared.held_out_bytes),
            "bits a byte of n-grams": ngram_bits_per_byte(prepared, config.order, read),
        })  # fmt: skip

    def sampled() -> str:
        generator = torch.Generator().manual_seed(config.seed)
        written = model.generate(prepared.held_out[None, :8], 120, generator=generator)
        return FastBpe(prepared.vocabulary).decode(written[0].tolist())

    measured = json.loads(stages.made("evaluation.json", inputs, evaluation))
    return model, stages.made("sample.txt", inputs, sampled).decode(), measured


def train(
    model: "Gpt", prepared: "Prepared", inputs: list[Any], folder: Path, end: float | None
) -> None:
    """The loop: a batch is a function of seed and step, so a stopped run goes on to the same end.

    Raises:
        Interrupted: the minutes are over; a checkpoint is on disk.
    """
    from orrery.data.batches import sample_windows
    from orrery.files import sha256
    from orrery.lab.run import Lab
    from orrery.train.muon import muon_and_adamw
    from orrery.train.precision import use_fast_products
    from orrery.train.schedule import scale_rates, trapezoid

    steps, batch = inputs[-2:]
    folder = folder / sha256(json.dumps(inputs).encode())[:12]  # never another run's checkpoint
    folder.mkdir(parents=True, exist_ok=True)
    lab = Lab(folder, inputs[1]["seed"])
    use_fast_products(model)
    optimisers = muon_and_adamw(model, RATE)
    try:
        for step in lab.steps("train", steps, state=(model, *optimisers)):
            x, y = sample_windows(
                prepared.training, model.config.context, batch, lab.rng("batch", step)
            )
            loss = model.loss(x, y)
            model.zero_grad()
            loss.backward()
            for optimiser in optimisers:
                scale_rates(optimiser, trapezoid(step, steps, warmup=20))
                optimiser.step()
            lab.log(loss=loss)
            if step % 50 == 0:
                print(f"step {step} of {steps}: loss {loss.item():.3f} a token", file=sys.stderr)
            lab.stop_requested = end is not None and time.monotonic() > end
    finally:
        lab.close()
