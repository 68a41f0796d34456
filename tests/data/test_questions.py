"""`orrery.data.questions`: instruction tasks out of data sets and files."""

import json

import pytest

from orrery.data import movie_snippets, questions, tang_poems
from orrery.data.questions import Question, asked, read
from orrery.errors import OrreryError
from tests.data.test_sets import have


def test_movies_ask_what_the_score_says():
    have(movie_snippets)
    found = questions.movies()
    assert {one.answer for one in found.training} == {"for", "against"}
    training, _, test = movie_snippets.split()
    scores = dict(zip(training.texts, training.scores, strict=True))
    for one in found.training[:50]:
        text = one.messages[0]["content"].split("\n\n", 1)[1]
        assert (scores[text] > 0.5) if one.answer == "for" else (scores[text] < -0.5)
    assert len(found.held_out) <= len(test)
    assert not {one.messages[0]["content"] for one in found.training} & {
        one.messages[0]["content"] for one in found.held_out
    }


def test_poems_are_asked_for_by_their_titles():
    have(tang_poems)
    found = questions.poems()
    everything = tang_poems.poems()
    assert len(found.training) + len(found.held_out) == len(everything)
    assert found.held_out[0].answer == "\n".join(everything[19].lines)
    assert everything[19].title in found.held_out[0].messages[0]["content"]


def test_a_file_gives_both_forms_and_a_tenth_is_held_out(tmp_path):
    lines = [{"prompt": f"{i}?", "answer": str(i)} for i in range(29)]
    before = [{"role": "system", "content": "Count."}, {"role": "user", "content": "29?"}]
    lines.append({"messages": [*before, {"role": "assistant", "content": "29"}]})
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    found = read(path, seed=1)
    assert len(found.held_out) == 3
    everything = {one.answer: one for one in (*found.training, *found.held_out)}
    assert everything.keys() == {str(i) for i in range(30)}
    assert everything["7"] == asked("7?", "7")
    assert everything["29"] == Question(tuple(before), "29")
    assert read(path, seed=1) == found
    assert read(path, seed=2) != found


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2 is not JSON"),
        ("[" * 100_000, "line 2 is not JSON"),
        ("[]", "line 2 must have"),
        ('{"prompt": 1, "answer": "x"}', "line 2 must have"),
        ('{"prompt": "x", "answer": ""}', "line 2 has an empty answer"),
        ('{"messages": [{"role": "assistant", "content": "x"}]}', "line 2 must have"),
        ('{"messages": [{"role": "tool", "content": "x"}, {"role": "assistant", "content": "x"}]}',
         "line 2: a message must have role and content"),
    ],
)  # fmt: skip
def test_a_line_that_is_no_question_is_named(line, said, tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_text('{"prompt": "a", "answer": "b"}\n' + line)
    with pytest.raises(OrreryError, match=said):
        read(path)


def test_files_that_hold_too_little_are_refused(tmp_path):
    path = tmp_path / "questions.jsonl"
    with pytest.raises(OrreryError, match="cannot read"):
        read(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(OrreryError, match="cannot read"):
        read(path)
    path.write_text('{"prompt": "a", "answer": "b"}')
    with pytest.raises(OrreryError, match="at least two questions, got 1"):
        read(path)
