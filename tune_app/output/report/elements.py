"""The elements of the report: sections of text, tables and charts. Everything is escaped here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import plotly.graph_objects as go

from tune_app.experiment.table import Cell

SIGNIFICANT_DIGITS = 6


class Html(str):
    """HTML, made from text that was escaped."""

    __slots__ = ()


@dataclass(frozen=True)
class Table:
    """Rows with a value for each column."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Chart:
    """A figure, what it shows in a sentence, and its numbers. `name`: unique on the page."""

    name: str
    figure: go.Figure
    caption: str
    numbers: Table


@dataclass(frozen=True)
class Section:
    """A part of the page under a title of its own."""

    title: str
    parts: Sequence[Html | Table | Chart]

    @property
    def anchor(self) -> str:
        """The name that links to it use."""
        return re.sub(r"[^a-z]+", "-", self.title.lower()).strip("-")


def paragraph(text: str, kind: str = "") -> Html:
    """A paragraph of plain text; `kind`: a class of page.css."""
    return Html(f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>")


def preformatted(text: str) -> Html:
    """Text as it is: a command, a file or a traceback."""
    return Html(f"<pre>{escape(text)}</pre>")


def folded(summary: str, inside: Html) -> Html:
    """HTML that a click unfolds."""
    return Html(f"<details><summary>{escape(summary)}</summary>{inside}</details>")


def definitions(pairs: Sequence[tuple[str, str]]) -> Html:
    """Names and their values."""
    inside = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in pairs)
    return Html(f"<dl>{inside}</dl>")


def words(cell: Cell) -> str:
    """A value as tables show it."""
    if cell is None:
        return ""
    return f"{cell:.{SIGNIFICANT_DIGITS}g}" if isinstance(cell, float) else str(cell)


def table(content: Table) -> Html:
    """A table that scrolls within itself where it is wider than the page.

    It goes without the end tags that HTML can spare: a long search has ten thousands of cells.
    """
    texts = [any(isinstance(row[i], str) for row in content.rows) for i in range(len(content.columns))]
    head = "".join(
        f"<th{' class=t' if is_text else ''}>{escape(name)}"
        for name, is_text in zip(content.columns, texts, strict=True)
    )
    rows = "".join("<tr>" + "".join(map(table_cell, row)) for row in content.rows)
    return Html(f'<div class="wide"><table><thead><tr>{head}<tbody>{rows}</table></div>')


def table_cell(cell: Cell) -> str:
    """A cell, numbers to the right, text (class t) to the left."""
    return f"<td class=t>{escape(cell)}" if isinstance(cell, str) and cell else f"<td>{words(cell)}"


def chart(content: Chart) -> Html:
    """The place where page.js draws a chart, its caption and its numbers."""
    height = content.figure.layout.height
    numbers = folded(f"{len(content.numbers.rows)} rows of numbers", table(content.numbers))
    return Html(
        f'<figure><div class="chart" id="chart-{content.name}" style="height:{height:g}px"></div>'
        f"<figcaption>{escape(content.caption)}</figcaption>{numbers}</figure>"
    )


def part(content: Html | Table | Chart) -> Html:
    """Any part of a section."""
    if isinstance(content, Chart):
        return chart(content)
    return table(content) if isinstance(content, Table) else content
