import base64

import matplotlib.image
import nbconvert
import nbformat
import numpy as np
import pytest

from helpers import ImageFiles, MY_Generator
from helpers.widgets.browse_batches import browse_batches
from helpers.widgets.play_pipeline import play_pipeline

NAMES = [f"class {number}" for number in range(10)]


@pytest.fixture
def files(pictures):
    return ImageFiles(pictures, np.arange(70) % 10, NAMES)


def make(files, **options):
    options = {"batch_size": 16, "image_size": (20, 24), "shuffle": True, "seed": 5} | options
    return MY_Generator(files.filenames, files.labels, **options)


# Where no widgets run.


@pytest.fixture(params=["batches", "pipeline"])
def box(request, files):
    return browse_batches(make(files), NAMES) if request.param == "batches" else play_pipeline()


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
