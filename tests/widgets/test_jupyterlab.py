"""The widgets in a real JupyterLab, in a real browser: a slider moves, the picture changes."""

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

import nbformat
import psutil
import pytest
from conftest import REPOSITORY, wait_until

from helpers.classroom import copies

pytestmark = pytest.mark.slow

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
TOKEN = "a-token-for-this-test"
CELLS = {
    "batches": """
        from helpers import MY_Generator, browse_batches, play_pipeline
        generator = MY_Generator({pictures}, range(40), 16, image_size=(32, 32), shuffle=True)
        browse_batches(generator)
    """,
    "pipeline": "play_pipeline(workers=4, cores=1)",
}


def write_notebook(path, pictures):
    notebook = nbformat.v4.new_notebook()
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    for source in CELLS.values():
        lines = [line.strip() for line in source.format(pictures=pictures[:40]).splitlines()]
        notebook.cells.append(nbformat.v4.new_code_cell("\n".join(lines).strip()))
    nbformat.write(notebook, path)


def ask(address, what):
    """Answer of JupyterLab's server; None if there is none."""
    try:
        url = f"{address}/api/{what}?token={TOKEN}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)
    except OSError:
        return None


def has_idle_kernel(address):
    """Whether the page is connected to a kernel; cells that it runs before may be forgotten."""
    kernels = ask(address, "kernels")
    return kernels and kernels[0]["connections"] and kernels[0]["execution_state"] == "idle"


@contextmanager
def jupyterlab(folder):
    """Address of a JupyterLab that shows a folder and knows nobody's settings."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = folder.parent / "home"
    home.mkdir()
    environment = {
        **{name: value for name, value in os.environ.items() if "JUPYTER" not in name},
        "HOME": str(home),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "IPYTHONDIR": str(home / "ipython"),
        "PYTHONPATH": str(REPOSITORY),
    }
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *(f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}"),
        # It must not ask the network for news, or for a newer version.
        *("--LabApp.news_url=None", "--LabApp.extension_manager=readonly"),
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    settings = home / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    notices = settings / "notification.jupyterlab-settings"
    notices.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    log = home / "log.txt"
    with log.open("w") as file:
        server = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        address = f"http://127.0.0.1:{port}"
        ready = wait_until(lambda: ask(address, "status") or server.poll() is not None, 120)
        assert ready and server.poll() is None, log.read_text()
        yield address
    finally:
        running = server.poll() is None
        kernels = psutil.Process(server.pid).children(recursive=True) if running else []
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(10)
        for kernel in kernels:
            if kernel.is_running():
                kernel.kill()


@pytest.fixture(scope="module")
def page(tmp_path_factory, pictures):
    """A notebook with both widgets, all of its cells run, in JupyterLab in a browser."""
    if not BROWSER:
        pytest.skip("no browser: neither chromium, chromium-browser nor google-chrome is installed")
    from playwright.sync_api import sync_playwright

    folder = tmp_path_factory.mktemp("lab") / "notebooks"
    folder.mkdir()
    write_notebook(folder / "widgets.ipynb", pictures)
    saved = nbformat.read(REPOSITORY / "notebooks" / "01_why_batches.ipynb", 4)
    opened = copies.to_work_in(saved, with_solutions=False)
    nbformat.write(opened, folder / "opened.ipynb")
    arguments = [
        *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
        *("--disable-background-networking", "--disable-component-update"),
        *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
    ]
    with (
        jupyterlab(folder) as address,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=BROWSER, args=arguments) as browser,
    ):
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(120_000)
        page.asked_for = []
        page.on("request", lambda request: page.asked_for.append(request.url))
        page.goto(f"{address}/lab/tree/widgets.ipynb?token={TOKEN}")
        page.locator(".jp-Notebook .jp-CodeCell").nth(1).wait_for()
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
        assert wait_until(lambda: has_idle_kernel(address), 60)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        yield page


@pytest.fixture(params=CELLS)
def output(request, page):
    """The output of a cell, when its widget is there."""
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(list(CELLS).index(request.param))
    cell.scroll_into_view_if_needed()
    output = cell.locator(".jp-OutputArea")
    output.locator("img.widget-image").or_(output.get_by_text("Error")).first.wait_for()
    assert output.locator("img.widget-image").count() == 1, output.inner_text()
    return output


def shown_picture(output):
    """Bytes of the picture that the browser shows."""
    return output.locator("img.widget-image").evaluate(
        "async image => [...new Uint8Array(await (await fetch(image.src)).arrayBuffer())]"
    )


def changes(output, before):
    """Whether the picture becomes another one in time."""
    return wait_until(lambda: shown_picture(output) != before, 60)


def test_moving_any_slider_changes_the_picture(output):
    sliders = output.get_by_role("slider")
    assert sliders.count() >= 2
    for slider in sliders.all():
        before = shown_picture(output)
        slider.focus()
        slider.press("ArrowRight")
        assert changes(output, before), slider.evaluate("handle => handle.outerHTML")


def test_the_buttons_leaf_through_the_batches(page):
    output = page.locator(".jp-Notebook .jp-CodeCell").first.locator(".jp-OutputArea")
    first = shown_picture(output)
    output.get_by_title("next batch").click()
    assert changes(output, first)
    second = shown_picture(output)
    output.get_by_title("previous batch").click()
    assert changes(output, second)
    assert shown_picture(output) == first


def test_no_error_is_shown_and_no_description_is_cut_off(output):
    assert "Error" not in output.inner_text()
    labels = output.locator(".widget-label").all()
    assert len(labels) >= 2
    for label in labels:
        cut_off = label.evaluate("label => label.scrollWidth > label.clientWidth")
        assert not cut_off, label.inner_text()


def test_the_picture_is_as_wide_as_it_was_drawn_or_as_its_place(output):
    drawn, shown, place = output.locator("img.widget-image").evaluate(
        "image => [image.naturalWidth, image.width, image.closest('.jp-OutputArea').clientWidth]"
    )
    assert 0 < shown == min(drawn, shown) <= place


def test_nothing_but_this_machine_is_asked(page, output):
    assert page.asked_for
    foreign = [
        url for url in page.asked_for if not url.startswith(("http://127.0.0.1:", "blob:", "data:"))
    ]
    assert foreign == []


CONTRAST = """
element => {
    const light = colour => {
        const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(
            value => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    let ground = element;
    while (/rgba\\(.*, 0\\)|transparent/.test(getComputedStyle(ground).backgroundColor))
        ground = ground.parentElement;
    const both = [light(getComputedStyle(element).color),
                  light(getComputedStyle(ground).backgroundColor)].sort();
    return [(both[1] + 0.05) / (both[0] + 0.05), light(getComputedStyle(ground).backgroundColor)];
}
"""  # https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio


def test_words_of_widgets_can_be_read_in_a_dark_theme(page):
    page.locator("img.widget-image").nth(1).wait_for()
    page.get_by_role("menuitem", name="Settings", exact=True).click()
    page.get_by_text("Theme", exact=True).hover()
    page.get_by_text("JupyterLab Dark", exact=True).click()
    page.locator("body[data-jp-theme-light=false]").wait_for(state="attached")
    words = page.locator(".widget-label, .widget-html-content, .jp-OutputArea summary")
    assert words.count() >= 6
    for element in words.all():
        contrast, ground = element.evaluate(CONTRAST)
        assert ground < 0.2  # the theme is dark indeed
        assert contrast >= 4.5, element.inner_text()


def test_a_saved_notebook_still_shows_the_picture_when_it_is_opened_again(page):
    page.get_by_role("menuitem", name="File", exact=True).click()
    page.get_by_text("Save Notebook", exact=True).click()
    page.locator(".jp-mod-dirty").first.wait_for(state="detached")
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_text("Shut Down Kernel", exact=True).click()
    page.reload()
    cell = page.locator(".jp-Notebook .jp-CodeCell").first
    cell.get_by_text("As it was first shown").click()
    picture = cell.locator("details img")
    picture.wait_for()
    assert picture.evaluate("image => image.naturalWidth") > 800


def test_a_copy_that_is_only_opened_is_not_called_changed(page):
    # In a workspace of its own: JupyterLab's other one would open the other notebook again, too.
    page.goto(page.url.replace("/lab/tree/widgets", "/lab/workspaces/empty/tree/opened"))
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    page.wait_for_timeout(3000)  # the kernel tells what language it speaks
    assert page.locator(".jp-mod-dirty").count() == 0
