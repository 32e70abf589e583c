"""The report of real searches, and how a browser shows it without a network."""

import shutil
from pathlib import Path

from tests.end_to_end.browser import Page, browse, needs_browser
from tests.end_to_end.conftest import tune_app
from tests.made_up import tutorial_experiment
from tune_app.output.report.page import report_html
from tune_app.storage.load import load_experiment

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


def test_the_report_of_a_search_while_it_runs_and_afterwards(tmp_path, start, small_data) -> None:
    more = ("--max-epochs", 20, "--num-samples", 5, "--no-dashboard")
    running = start("search", "quick", "--name", "x", "--data", small_data, *more)
    running.wait_for_results("x", 5)
    assert tune_app(tmp_path, "report", "x").stdout == "wrote x-report.html\n"
    assert "It is still running" in (tmp_path / "x-report.html").read_text()
    running.end(240)
    assert tune_app(tmp_path, "report").returncode == 0
    assert "It is still running" not in (tmp_path / "x-report.html").read_text()

    experiment = load_experiment("x", tmp_path / "experiments")
    shutil.move(tmp_path / "experiments" / "x", tmp_path / "experiments" / "moved")
    assert tune_app(tmp_path, "results", "moved", "-o", "all.csv").returncode == 0
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 1 + experiment.history.results
