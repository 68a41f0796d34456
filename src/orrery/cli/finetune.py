"""`orrery finetune DATA --out FOLDER`: a language model learns to answer, on this machine."""

import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orrery.cli.parser import Parser, print_json
from orrery.errors import OrreryError, UsageError
from orrery.files import write_json

if TYPE_CHECKING:
    from orrery.data.questions import Questions
    from orrery.inference.answers import Answered, Score
    from orrery.inference.causal_lm import CausalLm
    from orrery.systems.language.local_llm import LocalLlm

EXAMPLES = (
    "orrery finetune movies --out movies-adapter --minutes 5",
    "orrery finetune mine.jsonl --out mine --steps 200 --rank 16",
    "orrery chat --adapter movies-adapter",
)
RATES = {"low_rank": 5e-4, "full": 2e-5}
ABOVE_NOTHING = ("steps", "batch", "rank", "examples", "context", "rate", "minutes")


def main(argv: list[str]) -> int:
    """Examine, learn, examine again, keep; returns 0."""
    chosen = _parser().parse_args(argv)
    for name in ABOVE_NOTHING:
        value = getattr(chosen, name)
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise UsageError(f"--{name} must be above 0, got {value}")
    questions = _questions(chosen.data, chosen.seed)
    end = time.monotonic() + 60 * chosen.minutes if chosen.minutes else None

    import torch

    from orrery.cli.generate import opened
    from orrery.inference.answers import examine
    from orrery.systems.language.llm_finetune import FinetuneConfig, learning_share, prepare

    llm = opened(chosen.model)
    training = _rows(llm, questions.training, chosen.context)
    held_out = _rows(llm, questions.held_out, chosen.context)[: chosen.examples]
    model = llm.weights()
    before = examine(model, held_out)
    print(
        f"{len(training)} questions to learn from; {len(held_out)} others: {_said(before)}",
        file=sys.stderr,
    )
    config = FinetuneConfig(method=chosen.method, rank=chosen.rank, alpha=2.0 * chosen.rank)
    learning = prepare(model, config, torch.Generator().manual_seed(chosen.seed))
    share = learning_share(model)
    _learn(model, learning, training, chosen, end)
    after = examine(model, held_out)
    measured = {
        "folder": str(chosen.out), "method": chosen.method, "share_learning": share,
        "steps": chosen.steps, "held_out": len(held_out),
        "loss_before": before.loss, "loss_after": after.loss,
        "exact_before": before.exact, "exact_after": after.exact,
    }  # fmt: skip
    _keep(model, llm, chosen)
    write_json(chosen.out / "finetune.json", measured)
    if chosen.json:
        print_json(measured)
    else:
        print(f"before: {_said(before)}; after: {_said(after)}; kept in {chosen.out}")
    return 0


def _said(score: "Score") -> str:
    return f"{score.loss:.3f} nats a token of an answer, {score.exact:.1%} of the answers given"


def _parser() -> Parser:
    parser = Parser(
        "finetune", "Have a language model learn to answer. The same command goes on where it was\n"
        "stopped.", EXAMPLES,
    )  # fmt: skip
    parser.add_argument(
        "data", metavar="DATA",
        help='movies, poems, or a file of lines {"prompt": ..., "answer": ...}',
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="new, or ours")
    parser.add_argument(
        "--method", choices=("low_rank", "full"), default="low_rank",
        help="adapters of low rank (LoRA, the default), or all weights",
    )  # fmt: skip
    parser.add_argument("--rank", type=int, default=8, metavar="R", help="of adapters; default 8")
    parser.add_argument("--steps", type=int, default=150, metavar="N", help="default 150")
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="default 8 questions")
    parser.add_argument("--minutes", type=float, metavar="M", help="stop for now after so long")
    parser.add_argument("--rate", type=float, metavar="R", help="of AdamW; by the method")
    parser.add_argument(
        "--context", type=int, default=256, metavar="N", help="leave out longer ones; default 256"
    )
    parser.add_argument(
        "--examples", type=int, default=200, metavar="N", help="held out and examined; default 200"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument("--model", type=Path, metavar="PATH", help="as of `orrery generate`")
    parser.add_argument("--json", action="store_true", help="print an object")
    return parser


def _questions(data: str, seed: int) -> "Questions":
    from orrery.data import questions

    if data in questions.SETS:
        return questions.SETS[data]()
    if not Path(data).is_file():
        raise UsageError(f"DATA must be {', '.join(questions.SETS)} or a file, got {data!r}")
    return questions.read(Path(data), seed=seed)


def _rows(llm: "LocalLlm", questions: Any, context: int) -> list["Answered"]:
    """As tokens; what is longer than the context is left out.

    Raises:
        OrreryError: nothing is left.
    """
    from orrery.inference.answers import Answered

    rows = []
    for one in questions:
        answer = (*llm.tokenizer.encode(one.answer), llm.end)
        rows.append(Answered(tuple(llm.prompt(one.messages)), answer))
    kept = [row for row in rows if len(row) <= context]
    if not kept:
        raise OrreryError(f"each of {len(rows)} questions is longer than --context {context}")
    return kept


def _learn(
    model: "CausalLm", learning: list[Any], rows: list["Answered"], chosen: Any, end: float | None
) -> None:
    """AdamW; a batch is a function of seed and step, so a stopped run goes on to the same end.

    Raises:
        Interrupted: the minutes are over; a checkpoint is on disk.
    """
    import torch

    from orrery.inference.answers import batch_of
    from orrery.lab.run import Lab
    from orrery.systems.language.llm_finetune import answer_loss
    from orrery.train import precision
    from orrery.train.schedule import scale_rates, trapezoid

    optimiser = torch.optim.AdamW(learning, lr=_rate(chosen), weight_decay=0.0)
    state = (torch.nn.ParameterList(learning), optimiser)  # what does not learn is in the file
    lab, bfloat16 = Lab(_attempt(chosen), chosen.seed), precision.measured().bfloat16
    model.train()
    try:
        for step in lab.steps("finetune", chosen.steps, state=state):
            tokens, answers = batch_of(rows, chosen.batch, lab.rng("batch", step))
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                loss = answer_loss(model, tokens, answers)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learning, 1.0)
            scale_rates(optimiser, trapezoid(step, chosen.steps, warmup=10))
            optimiser.step()
            lab.log(loss=loss)
            if step % 10 == 0:
                print(f"step {step} of {chosen.steps}: loss {loss.item():.3f}", file=sys.stderr)
            lab.stop_requested = end is not None and time.monotonic() > end
    finally:
        lab.close()


def _rate(chosen: Any) -> float:
    return float(chosen.rate or RATES[chosen.method])


def _attempt(chosen: Any) -> Path:
    """The folder of checkpoints; another for every other choice that changes what is learnt."""
    from orrery.files import sha256

    data = Path(chosen.data)
    read = sha256(data.read_bytes()) if data.is_file() else chosen.data
    model = sha256(str(chosen.model and chosen.model.resolve()).encode())
    choices = [read, model, chosen.method, chosen.rank, chosen.steps, chosen.batch,
               chosen.context, _rate(chosen), chosen.seed]  # fmt: skip
    folder: Path = chosen.out / "training" / sha256(repr(choices).encode())[:12]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OrreryError(f"cannot make {folder}: {error.strerror}") from None
    return folder


def _keep(model: "CausalLm", llm: "LocalLlm", chosen: Any) -> None:
    """Adapters as PEFT has them; or all weights, with the tokeniser, as transformers has them."""
    from orrery.systems.language.llm_finetune import save_adapters
    from orrery.systems.language.tokenizer_json import object_of

    if chosen.method == "low_rank":
        save_adapters(model, chosen.out)
        return
    model.save_pretrained(chosen.out)
    vocabulary = llm.tokenizer.vocabulary
    write_json(chosen.out / "tokenizer.json", object_of(vocabulary))
    ends = {number: text for text, number in vocabulary.specials.items()}
    template = None if llm.template is None else llm.template.source
    settings = {"eos_token": ends.get(llm.end), "chat_template": template}
    write_json(chosen.out / "tokenizer_config.json", settings)
