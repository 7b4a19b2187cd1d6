"""The page in Chromium: light and dark, 1280 pixels wide and 390 as a phone, with a camera that is played.

`make test-browser` runs these tests. They wait for events of a browser in real time, so a busy machine can fail them
where nothing is wrong; the other tests of the page need no browser.
"""

import os
import shutil
import time

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e .[test]")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("needs chromium, which is not installed: apt-get install chromium", allow_module_level=True)
if "BROWSER_TESTS" not in os.environ:
    pytest.skip("drives a browser in real time: make test-browser", allow_module_level=True)

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --use-fake-device-for-media-stream --use-fake-ui-for-media-stream"
)
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
WAIT = 60_000  # milliseconds; a busy machine is slow
# Every text of ours that is seen, with the contrast to its ground (WCAG 2), its size and its right end.
TEXTS = """() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = (color) => {
    const [r, g, b] = numbers(color).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const color = getComputedStyle(node).backgroundColor;
      if (!/, 0\\)$/.test(color)) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  for (const node of document.querySelectorAll(".smac *")) {
    const own = [...node.childNodes].filter((child) => child.nodeType === 3);
    const text = own.map((child) => child.data).join("").trim();
    const box = node.getBoundingClientRect();
    if (!text || !box.width || node.closest("svg")) continue;
    const style = getComputedStyle(node);
    const pair = [light(style.color), light(ground(node))].sort((a, b) => b - a);
    found.push([text, (pair[0] + 0.05) / (pair[1] + 0.05), parseFloat(style.fontSize), box.right]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser(served):
    with playwright.sync_playwright() as program:
        browser = program.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, served):
    """A function that opens the page for a new visitor."""
    contexts = []

    def opened(scheme="light", viewport=DESKTOP):
        permissions = ["camera", "microphone"]
        context = browser.new_context(color_scheme=scheme, viewport=viewport, permissions=permissions)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.goto(served[0])
        page.wait_for_selector("#predict")
        return page

    yield opened
    for context in contexts:
        context.close()


def drop(page, path, field="#video"):
    page.set_input_files(f"{field} input[type=file]", path)


def check_texts(page, width):
    """Every text can be read, and nothing lies beside the window."""
    texts = page.evaluate(TEXTS)
    assert len(texts) > 10
    for text, contrast, size, right in texts:
        assert contrast >= 4.5, (text, contrast)
        assert size >= 12, (text, size)
        assert right <= width + 1, (text, right)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_prediction_can_be_read_on_desktop_and_phone(visit, clips, scheme):
    page = visit(scheme)
    assert page.evaluate("document.body.classList.contains('dark')") == (scheme == "dark")
    drop(page, clips["short"])
    page.get_by_text("3.0 s, picture and sound.").wait_for()
    page.fill("#words textarea", "a good film")
    page.click("#predict")
    page.wait_for_selector("#result .smac-headline")
    page.get_by_text("What does this mean?").click()
    page.get_by_text("what the model finds in all modalities alike").wait_for()
    check_texts(page, DESKTOP["width"])
    page.set_viewport_size(PHONE)
    check_texts(page, PHONE["width"])
    frames = page.locator("#result .smac-frames img")
    assert frames.count() == 6
    boxes = [frames.nth(number).bounding_box() for number in range(6)]
    assert all(box["width"] >= 80 and box["height"] >= 40 for box in boxes)
    assert len({round(box["x"]) for box in boxes}) == 3  # columns
    link = page.get_by_role("link", name="Responsible use")
    assert link.get_attribute("href") == "#responsible-use" and page.locator("#responsible-use").count() == 1


def test_old_results_vanish_and_a_long_clip_is_said_before_it_is_predicted(visit, clips):
    page = visit("dark", PHONE)
    page.click("#example-0")
    page.get_by_text("picture and sound.").wait_for()
    assert "wonderful" in page.input_value("#words textarea")
    page.click("#predict")
    page.wait_for_selector("#result .smac-headline")
    page.locator("#video").get_by_role("button", name="Clear").click()
    page.get_by_text("The prediction appears here.").wait_for()
    drop(page, clips["long"])
    page.get_by_text("It is longer than 5 s").wait_for()
    assert page.input_value("#words textarea") == ""  # those of the example
    page.fill("#words textarea", "a good film")
    page.click("#predict")
    page.wait_for_selector("#result .smac-strip")
    page.get_by_text("segments, ").first.wait_for()
    check_texts(page, PHONE["width"])
    drop_again(page, clips["hevc"])
    page.get_by_text("may not be able to show HEVC").wait_for()
    page.get_by_text("The prediction appears here.").wait_for()
    assert page.locator("#result .smac-strip").count() == 0 and page.input_value("#words textarea") == ""
    page.fill("#words textarea", "a bad day")
    drop_again(page, clips["short"])
    page.get_by_text("3.0 s, picture and sound.").wait_for()
    assert page.input_value("#words textarea") == "a bad day"  # no clip was predicted with them


def drop_again(page, path):
    """Drop a clip in place of another."""
    page.locator("#video").get_by_role("button", name="Clear").click()
    drop(page, path)


def test_sound_with_subtitles(visit, clips):
    page = visit()
    page.get_by_role("tab", name="Sound").click()
    drop(page, clips["sound"], "#sound")
    page.get_by_text("3.0 s, sound.").wait_for()
    drop(page, clips["words"], "#subtitles")
    page.wait_for_selector("#subtitles a[href*='words.srt']")  # once it is uploaded
    page.click("#predict")
    page.get_by_text("Made from: words, voice.").wait_for()


def test_one_of_two_visitors_leaves(visit, clips, served):
    one, two = visit(), visit()
    drop(one, clips["words"], "#subtitles")  # only this visitor has them
    one.wait_for_selector("#subtitles a[href*='words.srt']")
    for page in (one, two):
        drop(page, clips["short"])
        page.get_by_text("3.0 s, picture and sound.").wait_for()
    one.context.close()
    assert is_deleted(served[1], "words.srt")
    two.click("#predict")
    two.wait_for_selector("#result .smac-headline")
    two.context.close()
    assert is_deleted(served[1], "short.mp4")


def is_deleted(folder, name) -> bool:
    """Wait until the server has noticed that a visitor left; return whether the file is no longer there."""
    end = time.monotonic() + WAIT / 1000
    while list(folder.rglob(name)) and time.monotonic() < end:
        time.sleep(0.1)
    return not list(folder.rglob(name))


def test_a_camera_and_a_microphone_are_predicted_live(visit, served):
    before = len(list(served[1].rglob("*")))
    page = visit("dark", PHONE)
    page.get_by_role("tab", name="Live").click()
    page.fill(".smac-live-words", "a good film")
    page.get_by_role("button", name="Start").click()
    page.get_by_text("Made from: words, voice, picture.").wait_for()  # the first window of sound has two seconds
    page.wait_for_selector(".smac-live-result polyline")
    check_texts(page, PHONE["width"])
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Start").wait_for()
    assert page.evaluate("document.querySelector('.smac-preview').srcObject") is None
    assert len(list(served[1].rglob("*"))) == before
