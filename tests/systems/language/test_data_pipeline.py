import numpy as np
import pytest

from orrery.systems.language.data_pipeline import STAGES, DataPipeline, DataPipelineConfig
from orrery.systems.language.decontamination import Decontamination, DecontaminationConfig
from orrery.systems.language.language_id import LanguageId, LanguageIdConfig
from orrery.systems.language.quality_filter import Surprise

random = np.random.default_rng(0)
SUBJECTS = ["the king", "the old man", "a prophet", "my brother", "the captain", "the priest"]
VERBS = ["went up to", "came out of", "was angry at", "looked upon", "dwelt beside", "had built"]
OBJECTS = ["the city", "the river", "a great house", "the people", "the wall", "his tent"]
ENDS = ["in the morning", "with all his men", "and wept", "before the feast", "for seven days"]


def story():
    lines = (
        f"And {random.choice(SUBJECTS)} {random.choice(VERBS)} {random.choice(OBJECTS)} "
        f"{random.choice(ENDS)}, and {random.choice(SUBJECTS)} {random.choice(VERBS)} "
        f"{random.choice(OBJECTS)}."
        for _ in range(14)
    )
    return "\n".join(lines)


def garbled(text):
    """Every fifth word backwards."""
    return " ".join(word if i % 5 else word[::-1] for i, word in enumerate(text.split()))


GOOD = [story() for _ in range(12)]
SPANISH = "Y el rey subió a la ciudad con todos sus hombres y habló con el pueblo. " * 3
HELD_OUT = story()
DOCUMENTS = {
    "good": GOOD,
    "language": [SPANISH],
    "rules": [story() + " Read our privacy policy."],
    "surprise": [garbled(story())],
    "duplicates": [GOOD[2].replace("king", "prince", 1), GOOD[3]],
    "held out": [story() + "\n" + HELD_OUT],
}


def pipeline():
    reference = "\n".join(story() for _ in range(40))
    return DataPipeline(
        DataPipelineConfig(most_bits=1.0),
        languages=LanguageId(LanguageIdConfig(), {"English": reference, "Spanish": SPANISH}),
        clean=Surprise(reference),
        held_out=Decontamination(DecontaminationConfig(words=20), [HELD_OUT]),
        generator=np.random.default_rng(1),
    )


ALL = [text for texts in DOCUMENTS.values() for text in texts]
KINDS = [kind for kind, texts in DOCUMENTS.items() for _ in texts]


def test_each_stage_drops_what_it_is_for_and_nothing_good():
    cleaned = pipeline().run(ALL)
    assert cleaned.kept == tuple(range(len(GOOD)))
    stages = {place: reason.split(": ")[0] for place, reason in cleaned.dropped.items()}
    assert stages == {place: kind for place, kind in enumerate(KINDS) if kind != "good"}
    assert cleaned.counts() == {**{stage: KINDS.count(stage) for stage in STAGES}, "kept": 12}


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_would_drop_is_kept_without_it(stage):
    # What is in another language surprises, too: that stage is left out along with it.
    left_out = (stage, "surprise", "rules") if stage == "language" else (stage,)
    cleaned = pipeline().run(ALL, left_out=left_out)
    assert {KINDS[place] for place in cleaned.kept} >= {"good", stage}


def test_all_stages_left_out_keep_all():
    assert pipeline().run(ALL, left_out=STAGES).kept == tuple(range(len(ALL)))


def test_cleaning_twice_drops_nothing_more():
    kept = [ALL[place] for place in pipeline().run(ALL).kept]
    assert pipeline().run(kept).kept == tuple(range(len(kept)))
    assert pipeline().run([]).kept == ()


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="left_out must be of language, rules"):
        pipeline().run(ALL, left_out=("x",))
    with pytest.raises(ValueError, match=r"most_bits must be positive, got 0\.0"):
        DataPipelineConfig(most_bits=0.0)
