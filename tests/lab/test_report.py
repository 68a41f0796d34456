"""A report stands alone: nothing is loaded from elsewhere, and what it shows cannot run."""

import re

import pytest

from orrery.lab.folder import Order
from orrery.lab.report import command, interval_picture, render, shown_verdict
from orrery.lab.words import NOT_JUDGED, WORDS, reason_of, words

JUDGEMENT = {
    "id": "degradation-cause", "text": "<script>alert(1)</script>", "verdict": "holds",
    "effect": 1.5, "margin": 1.0, "low": 1.2, "high": 1.8, "p": 0.01, "seeds": 5, "reason": "r",
}  # fmt: skip


def page(monkeypatch, language):
    monkeypatch.setenv("ORRERY_LANGUAGE", language)
    order = Order(area="a", stem="s", scale="full", seeds=(0, 1), settings={"steps": 3})
    shown = shown_verdict(JUDGEMENT, "en")
    return render(
        "report.html", order=order, question="Is it so?", about=["<b>no</b>"], seconds=3.0,
        claims=[shown], controls=[{**shown, "low": None, "high": None, "picture": ""}],
        figures=[], samples=[{"name": "n", "image": "", "text": "<img src=x onerror=y>"}],
        tables=[{"name": "t", "head": ["a"], "rows": [["<i>"]]}], curves=[],
        environment={"x": 1}, command=command(order),
    )  # fmt: skip


@pytest.mark.parametrize("language", ["en", "zh"])
def test_nothing_is_loaded_and_nothing_runs(monkeypatch, language):
    html = page(monkeypatch, language)
    assert html.startswith("<!doctype html>")
    assert "default-src 'none'" in html
    assert "<script" not in html
    assert "onerror=y>" not in html
    assert not re.search(r"(?:src|href)=\"(?!data:)[^\"]+\"", html)
    assert not re.search(r"url\(|@import", html)
    assert words(language)["verdicts"] in html
    assert "orrery run s --seeds 2" in html


def test_words_are_there_in_both_languages():
    for key, pair in WORDS.items():
        assert all(pair), key
    assert words("en").keys() == words("zh").keys()


def test_interval_picture_puts_margin_and_effect_in_order():
    svg = str(interval_picture(JUDGEMENT))
    margin = float(re.search(r'text x="([\d.]+)"', svg).group(1))
    effect = float(re.search(r'circle cx="([\d.]+)"', svg).group(1))
    assert 20 <= margin < effect <= 540
    assert str(interval_picture({**JUDGEMENT, "low": None})) == ""


def test_command_repeats_the_run():
    order = Order(area="a", stem="s", scale="tour", seeds=(4,), settings={}, ablation="x")
    assert command(order) == "orrery run s --scale tour --seed 4 --ablate x"


def test_the_reason_of_every_verdict_has_a_chinese_form():
    judgement = {**JUDGEMENT, "reason": "the effect lies above its margin"}
    assert reason_of(judgement, "en") == judgement["reason"]
    assert reason_of(judgement, "zh") == "效应高于界限（Holm 校正后 p = 0.01，5 个种子）"
    assert "低于" in reason_of({**judgement, "verdict": "fails"}, "zh")
    assert "无法区分" in reason_of({**judgement, "verdict": "undecided"}, "zh")
    assert "一个种子" in reason_of({**judgement, "verdict": "undecided", "p": None}, "zh")
    assert (
        reason_of({**judgement, "reason": f"{NOT_JUDGED}x; y"}, "zh") == "未评判：对照不成立：x; y"
    )
