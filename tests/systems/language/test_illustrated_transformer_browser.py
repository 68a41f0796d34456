"""The page in a browser: choosing a head, a word or a layer changes the figure."""

from pathlib import Path

import pytest

from orrery.lab.walkthrough.illustrated import read_by_heart, write_illustrated

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no chromium"),
]


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The page in a browser, what the model computed, and the faults the browser told of."""
    sync_api = pytest.importorskip("playwright.sync_api")
    reading = read_by_heart("The animal slept because it was tired", steps=20)
    file = tmp_path_factory.mktemp("page") / "page.html"
    file.write_text(write_illustrated(reading, "en"), encoding="utf8")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        faults = []
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(file.as_uri())
        yield page, reading.insides, faults
        browser.close()


def widths(page):
    """Of the lines, less the width that any line has: proportional to the weights."""
    found = page.eval_on_selector_all(
        "line.weight", "lines => lines.map(l => Number(l.getAttribute('stroke-width')))"
    )
    return [(width - 0.5) / 11 for width in found]


def test_a_click_on_a_head_shows_its_numbers(shown):
    page, insides, faults = shown
    page.check("input[name=query][value='4']", force=True)
    for layer, head in ((0, 3), (2, 1)):
        before = page.inner_html("#lines"), page.inner_html("#steps"), page.inner_html("#sum")
        page.click(f"#maps button[data-layer='{layer}'][data-head='{head}']")
        after = page.inner_html("#lines"), page.inner_html("#steps"), page.inner_html("#sum")
        assert all(a != b for a, b in zip(after, before, strict=True))
        assert widths(page) == pytest.approx(insides.weights[layer, head, 4].tolist(), abs=1e-5)
        texts = page.locator("#steps .step:not(.head) .score").all_inner_texts()
        assert [float(text) for text in texts] == pytest.approx(
            insides.scores[layer, head, 4].tolist(), abs=0.0051
        )
        assert page.inner_text("#said").startswith(f"Layer {layer + 1}, head {head + 1}: “it”")
        assert page.get_attribute("#lines svg", "aria-label") == page.inner_text("#said")
        assert page.locator("#maps button[aria-pressed=true]").count() == 1
    assert faults == []


def test_the_keyboard_is_enough(shown):
    page, insides, _ = shown
    page.select_option("#layer", index=1)
    page.select_option("#head", index=3)
    page.focus("#maps button[aria-pressed=true]")
    page.keyboard.press("ArrowRight")
    assert page.input_value("#head") == "0"
    page.keyboard.press("ArrowDown")
    assert page.input_value("#layer") == "2"
    page.focus("input[name=query]:checked")
    page.keyboard.press("ArrowRight")
    query = int(page.input_value("input[name=query]:checked"))
    assert widths(page) == pytest.approx(insides.weights[2, 0, query].tolist(), abs=1e-5)


def test_it_fits_a_phone(shown):
    page, _, _ = shown
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
