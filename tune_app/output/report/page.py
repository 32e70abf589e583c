"""The page: sections, style and scripts in one HTML file that needs no network."""

import base64
import hashlib
import warnings
from html import escape
from importlib.resources import files

import plotly.offline

from tune_app.experiment.experiment import Experiment
from tune_app.output.report.elements import Chart, Section, part
from tune_app.output.report.sections import sections


def report_html(experiment: Experiment) -> str:
    """The whole report of an experiment, which may still be running."""
    with warnings.catch_warnings(action="ignore"):  # Optuna's, of changes in its next version
        shown = [section for section in sections(experiment) if section]
    resources = files("tune_app.output.report")
    style, drawing = (resources.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    plotly_js = plotly.offline.get_plotlyjs()
    links = "".join(f'<a href="#{section.anchor}">{escape(section.title)}</a>' for section in shown)
    name = escape(experiment.name)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy(plotly_js, drawing)}">
<title>{name}: report</title>
<style>{style}</style>
</head>
<body>
<header><h1>{name}</h1><p>{experiment.state}</p></header>
<nav>{links}</nav>
<main>
{"".join(map(section_html, shown))}
</main>
<noscript>The charts need JavaScript; their numbers are in the tables.</noscript>
<script type="application/json" id="figures">{figures_json(shown)}</script>
<script>{plotly_js}</script>
<script>{drawing}</script>
</body>
</html>
"""


def policy(*scripts: str) -> str:
    """The page's content security policy: a browser runs these scripts, none from a record, and loads nothing."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:"


def section_html(section: Section) -> str:
    """A section with its title."""
    inside = "".join(map(part, section.parts))
    return f'<section id="{section.anchor}"><h2>{escape(section.title)}</h2>{inside}</section>\n'


def figures_json(sections: list[Section]) -> str:
    """The figures by name, as JSON that cannot end the script element around it."""
    charts = [content for section in sections for content in section.parts if isinstance(content, Chart)]
    figures = ",".join(f'"chart-{chart.name}":{chart.figure.to_json(validate=False)}' for chart in charts)
    return f"{{{figures}}}".replace("<", "\\u003c")
