import pytest

from helpers.widgets.play_pipeline import play_pipeline

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("workers", 2),
        ("cores", 2),
        ("queue", 3),
        ("read", 30),
        ("decode", 90),
        ("hand_over", 20),
        ("step", 80),
    ],
)
def test_each_slider_of_the_pipeline_changes_the_picture(name, value):
    box = play_pipeline(workers=4, cores=1)
    before = box.picture.value
    box.controls[name].value = value
    assert bytes(box.picture.value).startswith(PNG)
    assert box.picture.value != before


def test_the_sliders_of_times_are_in_milliseconds_and_the_words_tell_the_rate():
    box = play_pipeline(read=0, decode=0.040, hand_over=0, step=0.010, workers=1, batches=50)
    assert box.controls["decode"].value == 40
    assert box.words.value.startswith("796 images/s. Training stands still for data 75% ")
    box.controls["step"].value = 80
    assert "The limit is the model." in box.words.value


def test_sliders_reach_further_than_they_start():
    controls = play_pipeline(decode=0.5, workers=64).controls
    assert controls["workers"].max == 64
    assert controls["decode"].max == controls["step"].max == 1000


@pytest.mark.parametrize(
    "wrong",
    [
        {"decode": -1},
        {"workers": 0},
        {"batches": 0},
        {"step": 0},
        {"read": "1"},
        {"step_cores": None},
    ],
)
def test_wrong_numbers_are_refused_at_once(wrong):
    with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
        play_pipeline(**wrong)
