"""How a browser shows a report without a network."""

import json
import re
from html import unescape
from pathlib import Path

import pytest

from tests.end_to_end.browser import needs_browser, rendered
from tests.made_up import tutorial_experiment
from tune_app.output.report.page import report_html

FRAME = """<iframe src="report.html" style="border: 0; width: {width}px; height: 900px"></iframe><script>
const look = () => {{
    const page = frames[0], all = query => [...page.document.querySelectorAll(query)];
    if (!page.document.body?.dataset.drawn) return setTimeout(look, 50);
    const overflow = () => page.document.documentElement.scrollWidth > page.innerWidth, found = {{
        charts: all('.chart').length,
        empty: all('.chart').filter(place => ![...place.querySelectorAll('.point, .points path, .js-line')].some(
            mark => mark.getBoundingClientRect().width > 0)).map(place => place.id),
        broken: all('a').map(a => a.getAttribute('href')).filter(
            to => !(to.startsWith('#') && page.document.getElementById(to.slice(1)))),
        requests: page.performance.getEntriesByType('resource').map(entry => entry.name),
        overflow: overflow(), width: page.innerWidth, hacked: page.hacked ?? null}};
    all('details').forEach(details => details.open = true);
    document.body.innerText = JSON.stringify({{...found, overflow_of_all: overflow()}});
}};
onload = look;
</script>"""
"""A page that shows the report in a window of some width, and then what it finds there."""
ALONE = ("--allow-file-access-from-files", "--window-size=1400,1000", "--host-resolver-rules=MAP * ~NOTFOUND")


def looked_at(report: str, folder: Path, width: int) -> tuple[dict[str, object], list[str]]:
    """What is found in a report, and what is in its console."""
    (folder / "report.html").write_text(report)
    (folder / "frame.html").write_text(FRAME.format(width=width))
    page, console = rendered((folder / "frame.html").as_uri(), *ALONE)
    return json.loads(unescape(re.findall(r"<body>(.*)</body>", page)[0])), console


@needs_browser
@pytest.mark.parametrize("width", [400, 1280])
def test_a_browser_without_a_network_shows_everything_on_a_phone_and_on_a_desk(tmp_path: Path, width: int) -> None:
    found, console = looked_at(report_html(tutorial_experiment(tmp_path, "made", 30)), tmp_path, width)
    nothing: dict[str, object] = {"empty": [], "broken": [], "requests": [], "hacked": None}
    assert found == {**nothing, "charts": 9, "width": width, "overflow": False, "overflow_of_all": False}
    assert console == []


@needs_browser
def test_a_script_that_got_into_the_page_would_not_run(tmp_path: Path) -> None:
    script = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
    page = report_html(tutorial_experiment(tmp_path, "made", 2)).replace("</main>", f"{script}</main>")
    found, console = looked_at(page, tmp_path, 1280)
    assert found["hacked"] is None
    assert len(console) >= 2
