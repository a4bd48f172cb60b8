"""The pages as a browser shows them: nothing is asked for, nothing is refused, nothing is cut off."""

import pytest

import chromium

CUT_OFF = """
[...document.querySelectorAll("body *")]
  .filter((each) => !each.closest(".hidden, .skip, .scroll > *"))
  .map((each) => [each, each.getBoundingClientRect()])
  .filter(([, box]) => box.width && (box.right > innerWidth + 1 || box.left < -1))
  .map(([each]) => `${each.tagName} ${each.textContent.slice(0, 40)}`)
"""
OVERLAPPING = """
[...document.querySelectorAll("svg")].flatMap((svg) => {
  const boxes = [...svg.querySelectorAll("text")].map((each) => [each.textContent, each.getBoundingClientRect()])
  return boxes.flatMap(([text, a], index) => boxes.slice(index + 1)
    .filter(([, b]) => a.left + 1 < b.right && b.left + 1 < a.right && a.top + 2 < b.bottom && b.top + 2 < a.bottom)
    .map(([other]) => `${text} | ${other}`))
})
"""


@pytest.mark.skipif(chromium.PROGRAM is None, reason="no Chromium is installed")
def test_a_browser_shows_everything_and_asks_for_nothing(reported, compared, hostile, tmp_path):
    browser = chromium.Chromium(tmp_path / "profile")
    try:
        for path in (reported[1].path, compared[1].path, hostile[1].path):
            browser.events.clear()
            browser.open(path)
            for width in (360, 800, 1400):
                browser.resize(width)
                assert browser.evaluate("innerWidth") == width
                assert browser.evaluate("document.documentElement.scrollWidth") <= width
                assert browser.evaluate(CUT_OFF) == []
            if path != hostile[1].path:  # its names have hundreds of characters
                assert browser.evaluate(OVERLAPPING) == []
            asked = {sent["request"]["url"] for sent in browser.heard("Network.requestWillBeSent")}
            assert asked == {path.absolute().as_uri()}
            assert browser.heard("Log.entryAdded") == []
            assert browser.heard("Runtime.exceptionThrown") == [] and browser.heard("Runtime.consoleAPICalled") == []
    finally:
        browser.close()
