"""A person at Dagster's UI: headless Chromium that looks at pages and clicks."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import FloatRect, Locator, Page, Response, sync_playwright

from laion_coco_assets_tests.dagster_server import DEADLINE_S, DagsterServer

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH (Debian: apt install chromium)")

#: Nothing but the page that is asked for: no updates, no background requests. Containers have no user namespaces.
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_WIDTH, _HEIGHT = 1600, 1000
#: Above one another the graph's nodes are large enough to be read at the width of a README.
_UPRIGHT = """localStorage.setItem("asset-graph-direction", JSON.stringify("vertical"))"""
_GRAPH = "/locations/laion_coco_assets/asset-groups/laion_coco/lineage"


@dataclass(frozen=True)
class Browser:
    """One page of a browser, at a running Dagster."""

    server: DagsterServer
    page: Page

    @property
    def nodes(self) -> Locator:
        """The asset graph's, each with its tags."""
        return self.page.locator("foreignObject")

    def open_graph(self, *, height: int = _HEIGHT) -> None:
        """The asset graph, drawn and filled in, as large as it fits into a window of this height."""
        self.page.set_viewport_size({"width": _WIDTH, "height": height})
        self.page.goto(self.server.url + _GRAPH)
        self.page.get_by_text("rn50x64_final").first.wait_for()
        self.page.get_by_text("Loading…").first.wait_for(state="hidden")

    def open(self, asset: str, view: str, **parameters: str) -> None:
        """A tab of an asset's page."""
        query = "&".join(f"{name}={value}" for name, value in {"view": view, **parameters}.items())
        self.page.goto(f"{self.server.url}/assets/{asset}?{query}")

    def materialise(self, shard: str) -> str:
        """Click "Materialize all…" for one shard; returns the run's id."""
        dialog = self._materialise_dialog()
        dialog.get_by_text("Select a partition").click()
        self.page.get_by_text(shard).first.click()
        self.page.keyboard.press("Escape")
        answer = self._click(dialog.get_by_role("button", name="Launch 1 run"))
        return str(answer["launchPipelineExecution"]["run"]["id"])

    def backfill(self) -> str:
        """Click "Materialize all…" for all shards; returns the backfill's id."""
        dialog = self._materialise_dialog()
        dialog.get_by_role("button", name="All", exact=True).click()
        answer = self._click(dialog.get_by_role("button", name="Launch"))
        return str(answer["launchPartitionBackfill"]["backfillId"])

    def show_markdown(self, name: str) -> Locator:
        """Click [Show Markdown] beside a metadata entry; returns the dialog, its pictures drawn."""
        self.page.get_by_role("row", name=name).get_by_text("[Show Markdown]").click()
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_role("button", name="Close").wait_for()
        for each in dialog.locator("img").all():
            each.evaluate("image => image.decode()")  # raises for a broken picture
        return dialog

    def show_plots(self, asset: str) -> Locator:
        """Click [Plots] on an asset's overview; returns the section that has them."""
        self.open(asset, "overview")
        self.page.get_by_role("button", name="Plots").click()
        end = self.page.get_by_text("When graphing values by partition")
        end.wait_for()
        return self.page.locator("[data-state=open]").filter(has=end).first

    def picture(self, path: Path, part: Locator | None = None, *, height: int = _HEIGHT, margin: int = 0) -> None:
        """What the page shows in a window of this height, or a part of it with so much of what is around it, as a PNG.

        A part may be several elements; with a margin it must fit into the window.
        """
        self.page.set_viewport_size({"width": _WIDTH, "height": height})
        self.page.wait_for_load_state("networkidle")
        if part is None:
            shot = self.page.screenshot(animations="disabled")
        elif margin:
            shot = self.page.screenshot(animations="disabled", clip=_around(part, margin))
        else:
            shot = part.screenshot(animations="disabled")
        with Image.open(BytesIO(shot)) as image:
            image.convert("RGB").save(path, optimize=True)
        self.page.set_viewport_size({"width": _WIDTH, "height": _HEIGHT})

    def _materialise_dialog(self) -> Locator:
        self.open_graph()
        self.page.get_by_role("button", name="Materialize all").click()
        return self.page.get_by_role("dialog")

    def _click(self, button: Locator) -> Any:
        """What the server answers to the mutation that a click sends."""

        def launches(response: Response) -> bool:
            return "graphql" in response.url and "mutation Launch" in (response.request.post_data or "")

        with self.page.expect_response(launches) as answered:
            button.click()
        answer = json.loads(answered.value.text())
        assert "errors" not in answer, answer["errors"]
        return answer["data"]


def _around(part: Locator, margin: int) -> FloatRect:
    boxes = [box for each in part.all() if (box := each.bounding_box())]
    left, top = min(box["x"] for box in boxes) - margin, min(box["y"] for box in boxes) - margin
    right = max(box["x"] + box["width"] for box in boxes) + margin
    bottom = max(box["y"] + box["height"] for box in boxes) + margin
    return {"x": left, "y": top, "width": right - left, "height": bottom - top}


@contextmanager
def browser(server: DagsterServer) -> Iterator[Browser]:
    """A browser with one page, until the block ends."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        try:
            page = chromium.new_page(viewport={"width": _WIDTH, "height": _HEIGHT}, locale="en-GB", timezone_id="UTC")
            page.add_init_script(_UPRIGHT)
            page.set_default_timeout(DEADLINE_S * 1000 / 5)
            yield Browser(server, page)
        finally:
            chromium.close()
