import base64

import matplotlib.image
import nbconvert
import nbformat
import numpy as np
import pytest

from helpers import MY_Generator
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


def test_beside_the_live_widget_there_are_its_present_picture_and_words(box, tmp_path):
    for control in box.controls.values():
        control.value += 1
    bundle = box._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == box.model_id
    picture = base64.b64decode(bundle["image/png"])
    assert picture == box.picture.value
    (tmp_path / "picture.png").write_bytes(picture)
    height, width = matplotlib.image.imread(tmp_path / "picture.png").shape[:2]
    assert 800 <= width <= 1100 and height >= 200
    assert "\n" not in bundle["text/plain"] and "<" not in bundle["text/plain"]


def test_a_page_made_of_a_notebook_shows_the_picture(box):
    bundle = box._repr_mimebundle_()
    output = nbformat.v4.new_output("execute_result", bundle, execution_count=1)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])])
    page, _ = nbconvert.HTMLExporter().from_notebook_node(notebook)
    assert bundle["image/png"] in page
