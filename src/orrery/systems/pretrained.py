"""One door to every model of the house that has a published layout."""

from importlib import import_module
from pathlib import Path

from orrery.errors import OrreryError
from orrery.files import read_json
from orrery.nn.pretrained import Pretrained

MODELS = {
    "AlbertForMaskedLM": "language.albert:AlbertMaskedLm",
    "AlbertModel": "language.albert:Albert",
    "BartForConditionalGeneration": "language.bart:Bart",
    "BertForMaskedLM": "language.bert:BertMaskedLm",
    "BertForSequenceClassification": "language.bert:BertClassifier",
    "BertModel": "language.bert:Bert",
    "GPT2LMHeadModel": "language.gpt2:Gpt2",
    "LlamaForCausalLM": "language.llama:Llama",
    "MistralForCausalLM": "language.mistral:Mistral",
    "OpenAIGPTLMHeadModel": "language.gpt1:Gpt1",
    "RobertaForMaskedLM": "language.roberta:RobertaMaskedLm",
    "RobertaModel": "language.roberta:Roberta",
    "T5ForConditionalGeneration": "language.t5:T5",
}
"""By the architecture that config.json names: our module and class."""


def load_model(folder: str | Path) -> Pretrained:
    """The model kept in `folder` (config.json, model.safetensors), in eval mode.

    Raises:
        OrreryError: a file is missing or damaged, or the house has no such model.
    """
    file = Path(folder) / "config.json"
    values = read_json(file)
    names = values.get("architectures") if isinstance(values, dict) else None
    if not isinstance(names, list) or not names:
        raise OrreryError(f"{file} lacks architectures, the name of the model's class")
    if names[0] not in MODELS:
        raise OrreryError(f"{file}: architectures must be one of {', '.join(MODELS)}; {names[0]!r}")
    module, _, name = MODELS[names[0]].partition(":")
    found: type[Pretrained] = getattr(import_module(f"orrery.systems.{module}"), name)
    return found.from_pretrained(folder)
