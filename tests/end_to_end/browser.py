"""A browser without a screen."""

import shutil
import subprocess

import pytest

needs_browser = pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium, which .ci/run installs")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--dump-dom",
    "--enable-logging=stderr",
)


def rendered(url: str, *options: str) -> tuple[str, list[str]]:
    """A page as the browser has it after some seconds, and what was written to its console."""
    command = ["chromium", *OPTIONS, "--virtual-time-budget=15000", *options, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE:" in line]
