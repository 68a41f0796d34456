"""The lab's own words in English and Chinese; which of them a reader gets."""

import os
from collections.abc import Mapping
from typing import Any, Literal

Language = Literal["en", "zh"]

NOT_JUDGED = "not judged: the control does not hold: "
"""How the reason of a verdict begins where a control is broken; then come the controls."""

WORDS: dict[str, tuple[str, str]] = {
    "holds": ("holds", "成立"),
    "fails": ("fails", "不成立"),
    "undecided": ("undecided", "未定"),
    "verdicts": ("Verdicts", "结论"),
    "controls": ("Controls", "对照"),
    "controls_note": (
        "Controls must come out as expected before any claim is judged.",
        "对照必须先如预期，主张才会被评判。",
    ),
    "figures": ("Figures", "图"),
    "curves": ("What was logged", "训练日志"),
    "samples": ("Samples", "样本"),
    "tables": ("Tables", "表"),
    "settings": ("Settings", "设置"),
    "environment": ("Where it ran", "运行环境"),
    "again": ("Run it again", "再跑一次"),
    "effect": ("effect", "效应"),
    "margin": ("margin", "界限"),
    "interval": ("95 % interval", "95% 区间"),
    "seeds": ("seeds", "随机种子"),
    "seconds": ("seconds", "秒"),
    "scale": ("scale", "规模"),
    "without": ("without", "去掉"),
    "ablated": (
        "This run removes a key idea on purpose: its main claim should not hold.",
        "本次运行故意去掉了一个关键想法：主要主张不应成立。",
    ),
    "plan_says": ("The plan says", "计划原文称"),
    "corrected": ("What its source says", "原始文献的说法"),
    "source": ("Source", "出处"),
    "one_seed": ("one seed: no interval", "仅一个种子：无区间"),
    "tour_title": ("The tour", "导览"),
    "tour_lead": (
        "Measured on this machine, from real data, just now. "
        "A claim holds or fails only where the 95 % interval over the seeds, corrected for the "
        "number of claims, leaves no doubt.",
        "以下结果刚刚在这台机器上、用真实数据测得。只有当多个种子的 95% 区间（按主张数目校正后）"
        "毫无疑义时，主张才算成立或不成立。",
    ),
    "could_not_run": ("Could not run", "未能运行"),
    "whole_report": ("the whole report", "完整报告"),
    "what_verdicts_mean": (
        "holds: the effect lies above its margin beyond doubt. fails: below it beyond doubt; "
        "a result, not an error. undecided: more seeds or a larger run would be needed.",
        "成立：效应确定高于界限。不成立：确定低于界限；这是结果，不是错误。"
        "未定：需要更多种子或更大规模。",
    ),
    "of": ("of", "/"),
    "value": ("value", "值"),
    "name": ("name", "名称"),
}


def language() -> Language:
    """`ORRERY_LANGUAGE` (en or zh), else Chinese in a Chinese locale, else English."""
    wish = os.environ.get("ORRERY_LANGUAGE") or os.environ.get("LC_ALL") or os.environ.get("LANG")
    return "zh" if (wish or "").lower().startswith("zh") else "en"


def words(in_language: Language) -> dict[str, str]:
    """Every word in one language."""
    return {key: pair[in_language == "zh"] for key, pair in WORDS.items()}


def reason_of(judgement: Mapping[str, Any], in_language: Language) -> str:
    """Why a verdict came out as it did; records keep the reason in English."""
    english = str(judgement["reason"])
    if in_language == "en":
        return english
    if english.startswith(NOT_JUDGED):
        return f"未评判：对照不成立：{english.removeprefix(NOT_JUDGED)}"
    if judgement["p"] is None:
        return "仅一个种子，没有区间：请多跑几个"
    after = f"Holm 校正后 p = {judgement['p']:.2g}"
    if judgement["verdict"] == "undecided":
        return f"效应与界限无法区分（{after}）"
    side = "高于" if judgement["verdict"] == "holds" else "低于"
    return f"效应{side}界限（{after}，{judgement['seeds']} 个种子）"
