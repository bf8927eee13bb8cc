"""The page in a real Chromium without a network: no message, no overflow, nothing that axe-core finds."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from compared_reports import with_evidence

from dmmcheck.report import html
from dmmcheck.report.changes import compared

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
BUILD = Path(__file__).parents[2] / "build"
AXE = BUILD / "axe" / "node_modules" / "axe-core" / "axe.min.js"
WIDTHS = (360, 768, 1440)
pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)"),
]

PROBE = """<script>%(axe)s</script><script>addEventListener("load", async () => {
  const seen = {};
  for (const opened of [false, true]) {
    document.querySelectorAll("details").forEach((one) => { one.open = opened; });
    seen[opened] = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  }
  const images = [...document.images];
  const broken = images.filter((one) => !one.naturalWidth).length;
  const unnamed = images.filter((one) => !one.alt).length;
  const requests = performance.getEntriesByType("resource").filter((one) => !one.name.startsWith("data:")).length;
  const found = window.axe ? (await axe.run()).violations : [];
  const serious = found.filter((one) => ["serious", "critical"].includes(one.impact));
  const result = {width: innerWidth, overflow: seen, broken, unnamed, requests};
  result.serious = serious.map((one) => [one.id, one.nodes[0].html]);
  parent.postMessage("RESULT" + btoa(JSON.stringify(result)) + "END", "*");
});</script></body>"""
SHELL = """<pre id="result"></pre><script>addEventListener("message", (event) => {
  document.getElementById("result").textContent = event.data;
});</script><iframe src="probe.html" width="%d" height="900" style="border: 0"></iframe>"""


def chromium(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Chromium once, without a sandbox (tests may run as root), a network or a profile."""
    flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")
    offline = ("--host-resolver-rules=MAP * ~NOTFOUND", "--no-first-run", f"--user-data-dir={tmp_path / 'profile'}")
    command = [str(CHROMIUM), *flags, *offline, "--enable-logging=stderr", "--v=0", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@pytest.fixture(scope="module")
def page() -> str:
    return html.render(compared(with_evidence(factor=0.7), with_evidence(), is_gate=True))


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core, which .ci/run installs."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed (npm install --prefix build/axe axe-core@4)")
    return AXE.read_text(encoding="utf-8")


def messages(tmp_path: Path, page: str, *arguments: str) -> list[str]:
    """What Chromium writes to its console while it shows a page from disk."""
    file = tmp_path / "page.html"
    file.write_text(page, encoding="utf-8")
    return [line for line in chromium(tmp_path, *arguments, file.as_uri()).stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_quiet_fits_and_is_accessible(tmp_path, page, axe, width):
    """The probe is a script, so the copy that holds it has no policy; the page itself is loaded as it is below."""
    probe = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    body = PROBE.replace("%(axe)s", axe.replace("</script", "<\\/script"))
    file, shell = tmp_path / "probe.html", tmp_path / "shell.html"
    file.write_text(probe.replace("</body>", body), encoding="utf-8")
    shell.write_text(SHELL % width, encoding="utf-8")
    done = chromium(tmp_path, "--virtual-time-budget=20000", "--window-size=1600,900", "--dump-dom", shell.as_uri())
    (result,) = re.findall(r"RESULT([A-Za-z0-9+/=]+)END", done.stdout)
    found = json.loads(base64.b64decode(result))
    assert found == {
        "width": width,
        "overflow": {"false": 0, "true": 0},
        "broken": 0,
        "unnamed": 0,
        "requests": 0,
        "serious": [],
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_as_it_is_leaves_no_message_and_a_screenshot(tmp_path, page, width, scheme):
    BUILD.mkdir(exist_ok=True)
    target = BUILD / f"report-{width}-{scheme}.png"
    dark = ("--blink-settings=preferredColorScheme=0",) if scheme == "dark" else ()
    assert messages(tmp_path, page, *dark, f"--window-size={width},1600", f"--screenshot={target}") == []
    assert os.path.getsize(target) > 20_000


def test_what_the_policy_forbids_leaves_a_message(tmp_path, page):
    """So that no message means that nothing was asked for."""
    asking = page.replace("</main>", '<img src="http://127.0.0.1:9/x.png" alt="1"><p style="color: red">x</p></main>')
    found = messages(tmp_path, asking, "--window-size=360,800", f"--screenshot={tmp_path / 'page.png'}")
    assert [word for word in ("img-src", "style-src") if any(word in line for line in found)] == [
        "img-src",
        "style-src",
    ]


def test_the_page_prints(tmp_path, page):
    BUILD.mkdir(exist_ok=True)
    target = BUILD / "report.pdf"
    assert messages(tmp_path, page, "--no-pdf-header-footer", f"--print-to-pdf={target}") == []
    assert target.read_bytes().startswith(b"%PDF")
