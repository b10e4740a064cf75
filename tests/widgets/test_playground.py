import base64

import matplotlib.image
import nbconvert
import nbformat
import numpy as np
import pytest

from helpers import MY_Generator
from helpers.widgets import playground
from helpers.widgets.browse_batches import browse_batches
from helpers.widgets.play_pipeline import play_pipeline

NAMES = [f"class {number}" for number in range(10)]


# Where no widgets run.


@pytest.fixture(params=["batches", "pipeline"])
def box(request, pictures):
    if request.param == "pipeline":
        return play_pipeline()
    options = {"image_size": (20, 24), "shuffle": True, "seed": 5}
    return browse_batches(MY_Generator(pictures, np.arange(70) % 10, 16, **options), NAMES)


@pytest.fixture
def displayed(monkeypatch):
    """What is displayed: the data and metadata of one output, and the HTML of the next."""
    shown = []
    monkeypatch.setattr(
        playground, "display", lambda what, **options: shown.append((what, options))
    )
    return shown


def test_beside_the_live_widget_there_are_its_present_picture_and_words(box, displayed, tmp_path):
    for control in box.controls.values():
        control.value += 1
    box._ipython_display_()
    bundle, options = displayed[0]
    assert options["metadata"] == {"image/png": {"alt": bundle["text/plain"]}}
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == box.model_id
    picture = base64.b64decode(bundle["image/png"])
    assert picture == box.picture.value
    (tmp_path / "picture.png").write_bytes(picture)
    height, width = matplotlib.image.imread(tmp_path / "picture.png").shape[:2]
    assert 800 <= width <= 1100 and height >= 200
    assert "\n" not in bundle["text/plain"] and "<" not in bundle["text/plain"]


def test_the_picture_is_there_when_a_saved_notebook_has_no_live_widget_any_more(box, displayed):
    box._ipython_display_()
    (bundle, _), (folded, _) = displayed
    assert folded.data.startswith("<details>")
    assert f'src="data:image/png;base64,{bundle["image/png"]}" alt="' in folded.data


def test_a_page_made_of_a_notebook_shows_the_picture(box, displayed):
    box._ipython_display_()
    bundle, _ = displayed[0]
    output = nbformat.v4.new_output("execute_result", bundle, execution_count=1)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])])
    page, _ = nbconvert.HTMLExporter().from_notebook_node(notebook)
    assert bundle["image/png"] in page
