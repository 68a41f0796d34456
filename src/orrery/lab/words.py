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
    "line_by_line": ("line by line", "逐行讲解"),
    "walk_lead": (
        "The real source of this model, piece by piece: every line of the file once, then the "
        "blocks it is built from, each where it is first used. Underlined names lead to where they "
        "are defined.",
        "这个模型的真实源码，逐段讲解：文件的每一行恰好出现一次，随后是它用到的模块，"
        "按首次使用的顺序排列。带下划线的名字可跳到其定义处。",
    ),
    "walk_run": (
        "The numbers come from a run: a small model learned sentences of a toy grammar for some "
        "seconds, and then met this one, which it had not seen.",
        "数值来自一次真实运行：一个小模型用几秒学会玩具文法的句子，然后遇到下面这句从未见过的话。",
    ),
    "walk_live": (
        "Boxes with an orange edge show what a line made when it first ran. Colours: blue above "
        "zero, orange below, white at zero; the darkest is the largest of that picture.",
        "橙边方框显示某一行首次运行时得到的值。颜色：蓝为正，橙为负，白为零；最深处是该图中的最大值。",
    ),
    "reads": ("it reads", "读入"),
    "should_write": ("it should write", "应写出"),
    "writes": ("it writes", "实际写出"),
    "contents": ("Contents", "目录"),
    "line": ("line", "行"),
    "first_of": ("first run of", "首次，总次数"),
    "returned": ("gives back", "返回"),
    "all_are": ("all {}", "全为 {}"),
    "span": ("from {low} to {high}", "从 {low} 到 {high}"),
    "picture_of": ("{name}: {y} rows, {x} columns, {span}", "{name}：{y} 行 {x} 列，{span}"),
    "part_shown": ("the first of them is drawn", "只画第一个"),
    "numbers": ("numbers", "数值"),
    "see_title": ("Inside the heads", "走进注意力头"),
    "see_lead": (
        "Choose a layer, a head and a word. The word asks with its query q; every word answers "
        "with its key k; the softmax of the scores says how much of each word's value v is taken.",
        "选择层、头和词。该词用查询 q 提问；每个词用键 k 回答；"
        "对分数做 softmax，得到从每个词的值 v 中取多少。",
    ),
    "minilm": ("MiniLM-L6, published weights", "MiniLM-L6，公开发布的权重"),
    "by_heart": (
        "a small BERT that learned this one sentence by heart",
        "一个背下这一句话的小型 BERT",
    ),
    "layers": ("layers", "层"),
    "heads": ("heads", "个头"),
    "numbers_a_head": ("numbers a head", "个数／头"),
    "no_script": (
        "Without JavaScript only the small maps at the end can be seen.",
        "没有 JavaScript 时只能看到末尾的小图。",
    ),
    "layer": ("Layer", "层"),
    "head": ("Head", "头"),
    "query_word": ("Word that asks", "提问的词"),
    "word": ("word", "词"),
    "score": ("score", "分数"),
    "weight": ("weight", "权重"),
    "see_lines": ("Where the word looks", "这个词看哪里"),
    "see_lines_note": (
        "The wider a line, the more is taken from the word on the right. A click on a word on the "
        "left lets it ask.",
        "线越粗，从右边那个词取得越多。点击左边的词，就由它提问。",
    ),
    "see_steps": ("The sum, step by step", "逐步计算"),
    "see_q": ("what it asks", "它问什么"),
    "see_k": ("what each word offers", "每个词提供什么"),
    "see_v": ("what each word gives", "每个词给出什么"),
    "see_z": ("what the word takes away", "这个词带走什么"),
    "see_steps_note": (
        "score = q · k / √{size}; weights = softmax of the scores; z = sum of weight × v. "
        "Blue above zero, orange below; values that hardly count are pale.",
        "分数 = q · k / √{size}；权重 = 分数的 softmax；z = 权重 × v 之和。"
        "蓝为正，橙为负；几乎不起作用的值颜色较淡。",
    ),
    "see_maps": ("All heads", "所有的头"),
    "see_maps_note": (
        "A row a layer, a column a head. In each map a row is a word that asks and a column a word "
        "that answers. A click, or the arrow keys, choose a head.",
        "每行一层，每列一个头。每张小图中，行是提问的词，列是回答的词。点击或用方向键选择一个头。",
    ),
    "see_careful": (
        "Weights tell where a head looks, which is not yet why the model decides as it does.",
        "权重说明一个头看向哪里，但这还不等于模型为何如此决定。",
    ),
    "see_map": ("layer {layer}, head {head}", "第 {layer} 层，第 {head} 个头"),
    "see_summary": (
        "Layer {layer}, head {head}: “{word}” takes most from {parts}.",
        "第 {layer} 层第 {head} 个头：“{word}”取自最多的是 {parts}。",
    ),
    "see_vector": ("{name}: numbers from {low} to {high}", "{name}：数值从 {low} 到 {high}"),
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
