"""How a browser shows a report without a network."""

from pathlib import Path

from tests.end_to_end.browser import Page, browse, needs_browser
from tests.made_up import tutorial_experiment
from tune_app.output.report.page import report_html

BROKEN_LINKS = """[...document.querySelectorAll('a')].filter(
    a => !(a.getAttribute('href').startsWith('#') && document.getElementById(a.hash.slice(1)))).length"""
EMPTY_CHARTS = """[...document.querySelectorAll('.chart')].filter(
    place => ![...place.querySelectorAll('.point, .points path, .js-line')].some(
        mark => mark.getBoundingClientRect().width > 0)).map(place => place.id)"""
OVERFLOW = "document.documentElement.scrollWidth - window.innerWidth"


@needs_browser
def test_a_browser_without_a_network_shows_everything_on_a_phone_and_on_a_desk(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(report_html(tutorial_experiment(tmp_path, "made", 30)))

    async def visit(page: Page) -> None:
        for width in (400, 1280):
            await page.open(path, width)
            assert await page.evaluate("document.querySelectorAll('.chart').length") == 12
            assert await page.evaluate(EMPTY_CHARTS) == []
            assert await page.evaluate(BROKEN_LINKS) == 0
            assert await page.evaluate(OVERFLOW) <= 0
            assert await page.evaluate("window.hacked") is None
            await page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            assert await page.evaluate(OVERFLOW) <= 0
        assert page.requests == [path.as_uri()] * 2
        assert page.complaints == []

    browse(visit)


@needs_browser
def test_a_script_that_got_into_the_page_would_not_run(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    script = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
    path.write_text(report_html(tutorial_experiment(tmp_path, "made", 2)).replace("</main>", f"{script}</main>"))

    async def visit(page: Page) -> None:
        await page.open(path, 1280)
        assert await page.evaluate("window.hacked") is None
        assert len(page.complaints) >= 2

    browse(visit)
