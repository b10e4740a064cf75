import subprocess
import sys

import pytest

import helpers

HEAVY = ["keras", "tensorflow", "skimage", "matplotlib", "pandas", "cv2", "numpy"]


def modules_after(statement):
    """Which heavy modules, and which of ours, a fresh Python has loaded after `statement`."""
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    return [name for name in HEAVY if name in loaded], loaded


def test_importing_the_package_loads_nothing_heavy():
    heavy, loaded = modules_after("import helpers")
    assert heavy == []
    assert not [name for name in loaded if name.startswith("helpers.")]


@pytest.mark.parametrize(
    "module",
    [
        "images.batches",
        "loading.memory",
        "loading.worker_process",
        "loading.pool",
        "loading.loaders",
    ],
)
def test_what_a_worker_imports_is_numpy_and_opencv(module):
    heavy, _ = modules_after(f"import helpers.{module}")
    assert heavy in (["cv2", "numpy"], ["numpy"])


def test_a_name_loads_its_own_module_only():
    heavy, loaded = modules_after("from helpers import read_image")
    assert heavy == ["cv2", "numpy"]
    others = {f"helpers.{name}" for name in ("datasets", "generators", "profiling", "plotting")}
    assert "helpers.images.reading" in loaded
    assert not others & loaded


@pytest.mark.parametrize("name", sorted(helpers.__all__))
def test_every_public_name_exists_and_says_what_it_is(name):
    public = getattr(helpers, name)
    assert public.__module__.startswith("helpers.")
    assert public.__name__ == name
    assert public.__doc__


def test_the_names_that_are_promised_are_public():
    promised = """
        ImageFiles load_sample load_cifar10 load_folder CIFAR10Sequence MY_Generator
        fit_generator show_batch time_epoch compare_workers check_sequence
    """
    assert set(promised.split()) <= set(helpers.__all__)
    assert set(promised.split()) <= set(dir(helpers))


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="My_Generator"):
        _ = helpers.My_Generator
    with pytest.raises(ImportError, match="My_Generator"):
        from helpers import My_Generator  # noqa: F401
