"""Looks at HTML pages in a headless Chromium, as their readers will: offline, wide and on a phone.

    python tools/check_page.py PAGE.html... [--png DIR] [--chromium PROGRAM]

Of every page, at 1200 and 390 px: no error on the console, nothing asked of the network, the body
no wider than the screen, every picture shown, every sound decoded. Prints what is wrong; then the
exit status is 1. Any Chromium or Chrome serves: one in PATH, or the one KDSPEECH_CHROMIUM names.
"""

import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

WIDTHS = {1200: 900, 390: 844}  # px, with heights
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome", "chrome-headless-shell")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         "--disable-dev-shm-usage", "--remote-debugging-pipe", "--no-first-run")  # fmt: skip
LOOK = """(async () => {
  const problems = [], root = document.documentElement;
  if (root.scrollWidth > root.clientWidth)
    problems.push(`the body is ${root.scrollWidth} px wide on ${root.clientWidth} px`);
  for (const image of document.querySelectorAll('img, svg image, svg')) {
    const box = image.getBoundingClientRect(), folded = image.closest('details:not([open])');
    if (!folded && !(box.width && box.height))
      problems.push(`not shown: ${image.outerHTML.slice(0, 80)}`);
    if (image.decode) await image.decode().catch(() => problems.push('picture not decoded'));
  }
  const sounds = document.querySelectorAll('audio');
  for (const sound of sounds) {
    const loaded = new Promise((resolve) => {
      sound.onloadedmetadata = () => resolve(sound.duration > 0);
      sound.onerror = () => resolve(false);
    });
    sound.preload = 'metadata'; sound.load();
    if (!(await loaded)) problems.push(`sound not decoded: ${sound.ariaLabel}`);
  }
  const images = document.querySelectorAll('img, svg').length;
  return {problems, images, sounds: sounds.length, height: root.scrollHeight};
})()"""


def find_chromium() -> str | None:
    """The program that KDSPEECH_CHROMIUM names, or the first of the usual names in PATH."""
    return os.environ.get("KDSPEECH_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """A headless browser with one page, spoken to in the DevTools protocol through a pipe."""

    def __init__(self, program: str):
        self.home = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        words = [program, *FLAGS, f"--user-data-dir={self.home.name}"]
        command = ["bash", "-c", f'exec "$@" 3<&{to_browser} 4>&{from_browser}', "bash", *words]
        self.process = subprocess.Popen(
            command, pass_fds=(to_browser, from_browser), stderr=subprocess.DEVNULL
        )
        os.close(to_browser)
        os.close(from_browser)
        self.events, self._rest, self._number, self._session = [], b"", 0, None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def __enter__(self) -> "Chromium":
        return self

    def __exit__(self, *_error) -> None:
        self.process.kill()
        self.process.wait()
        self.home.cleanup()

    def ask(self, method: str, **params) -> dict:
        """The answer to a command; events that come before it are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def wait(self, event: str) -> None:
        """Until an event has come."""
        while not any(e.get("method") == event for e in self.events):
            self.events.append(self._read())

    def _read(self) -> dict:
        while b"\0" not in self._rest:
            part = os.read(self._in, 1 << 20)
            if not part:
                raise RuntimeError("the browser has ended; does it start by hand?")
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


def check_page(browser: Chromium, page: Path, width: int, png: Path | None = None) -> dict:
    """What `LOOK` finds in a page at a width, `problems` with those of console and network; writes
    a picture of the whole page if asked."""
    browser.events.clear()
    size = {"width": width, "height": WIDTHS.get(width, 900), "deviceScaleFactor": 1}
    browser.ask("Emulation.setDeviceMetricsOverride", **size, mobile=width < 600)
    browser.ask("Page.navigate", url=page.absolute().as_uri())
    browser.wait("Page.loadEventFired")
    answer = browser.ask("Runtime.evaluate", expression=LOOK, awaitPromise=True, returnByValue=True)
    found = answer["result"]["value"]
    found["problems"] += [text for event in browser.events if (text := _problem(event))]
    if png:
        clip = {"x": 0, "y": 0, "width": width, "height": min(found["height"], 16000), "scale": 1}
        shot = browser.ask("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        png.write_bytes(base64.b64decode(shot["data"]))
    return found


def _problem(event: dict) -> str | None:
    method, params = event.get("method"), event.get("params", {})
    if method == "Runtime.exceptionThrown":
        return f"exception: {params['exceptionDetails']['text']}"
    if method == "Log.entryAdded" and params["entry"]["level"] == "error":
        return f"console: {params['entry']['text']}"
    if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
        return f"console: {params['args']}"
    if method == "Network.requestWillBeSent":
        url = params["request"]["url"]
        return None if url.startswith(("file:", "data:", "about:")) else f"asks for {url[:80]}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--png", type=Path, help="folder for pictures of the pages")
    parser.add_argument("--chromium", default=find_chromium(), help="the program")
    options = parser.parse_args()
    if not options.chromium:
        parser.error("no Chromium in PATH: install one, or name it with --chromium")
    for page in options.pages:
        if not page.is_file():
            parser.error(f"{page}: no such page")
    if options.png:
        options.png.mkdir(parents=True, exist_ok=True)
    bad = False
    with Chromium(options.chromium) as browser:
        for page in options.pages:
            for width in WIDTHS:
                png = options.png and options.png / f"{page.stem}-{width}.png"
                found = check_page(browser, page, width, png)
                bad |= bool(found["problems"])
                counts = f"{found['images']} images, {found['sounds']} sounds"
                print(f"{page} at {width} px: {counts}, {found['height']} px high")
                print("".join(f"  {problem}\n" for problem in found["problems"]), end="")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
