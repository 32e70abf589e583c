"""A browser without a screen and without a network, driven through its DevTools protocol."""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import pytest

needs_browser = pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium, which .ci/run installs")
LARGEST_MESSAGE = 2**28


class Page:
    """One open page."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket, self.sent = socket, 0
        self.complaints: list[str] = []
        """Errors and warnings in its console, and exceptions that nobody caught."""
        self.requests: list[str] = []
        """What it asked the network for, beside itself."""

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Let the browser do something; what it tells meanwhile is kept."""
        self.sent += 1
        await self.socket.send_json({"id": self.sent, "method": method, "params": parameters})
        while True:
            message = json.loads((await self.socket.receive(timeout=60)).data)
            if message.get("id") == self.sent:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self.note(message)

    def note(self, message: dict[str, Any]) -> None:
        """Keep what went wrong and what was asked for."""
        told = message.get("params", {})
        if message["method"] == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(told["exceptionDetails"]))
        elif message["method"] == "Log.entryAdded" and told["entry"]["level"] != "info":
            self.complaints.append(json.dumps(told["entry"]))
        elif message["method"] == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(told["args"]))
        elif message["method"] == "Network.requestWillBeSent" and not told["request"]["url"].startswith("data:"):
            self.requests.append(told["request"]["url"])

    async def evaluate(self, script: str) -> Any:
        """The value of an expression of JavaScript, awaited."""
        done = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    async def open(self, path: Path, width: int, height: int = 900) -> None:
        """Show a file in a window of so many pixels, offline, until all charts are drawn."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        await self.call(
            "Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0
        )
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        await self.call("Page.navigate", url=path.as_uri())
        drawn = "new Promise(done => { const look = () => document.body?.dataset.drawn && document.readyState"
        await self.evaluate(f"{drawn} === 'complete' ? done() : setTimeout(look, 50); look(); }})")


def browse(visit: Callable[[Page], Coroutine[Any, Any, None]]) -> None:
    """Start a browser, let `visit` use its page, and end it."""
    asyncio.run(visiting(visit))


async def visiting(visit: Callable[[Page], Coroutine[Any, Any, None]]) -> None:
    """The same within an event loop."""
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0")
    process = subprocess.Popen(
        ["chromium", *options, "about:blank"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stderr is not None
        port = next(found[1] for line in process.stderr if (found := re.search(r"ws://127\.0\.0\.1:(\d+)/", line)))
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                tabs = await answer.json()
            url = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
            async with session.ws_connect(url, max_msg_size=LARGEST_MESSAGE) as socket:
                await visit(Page(socket))
    finally:
        process.terminate()
        process.wait(20)
