"""Whole batches that the caller's own function mixes."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from noting import PROCESSES, Generator, contents

from helpers.generators.order import MIXING
from helpers.images.augmenting import AugmentError

SEED = 5


def make(pictures, augment_batch, **options):
    """22 files in batches of 6, so that the last one has 4."""
    classes = np.eye(3, dtype=np.float32)[np.arange(22) % 3]
    options = {"shuffle": True, "seed": SEED, "augment_batch": augment_batch, **options}
    return Generator(pictures[:22], classes, 6, **options)


def rng_of(epoch, index, shard=0):
    return np.random.default_rng((MIXING, SEED, epoch, index, shard))


def mix_up(images, labels, rng):
    """Return new arrays."""
    partners, share = rng.permutation(len(images)), rng.beta(0.4, 0.4)
    return tuple(share * part + (1 - share) * part[partners] for part in (images, labels))


def cut_mix(images, labels, rng):
    """Change those that came."""
    height, left = rng.integers(1, 6), rng.integers(0, 7)
    images[:, :height, left:] = images[::-1, :height, left:].copy()
    share = height * (7 - left) / (6 * 7)
    labels[:] = (1 - share) * labels + share * labels[::-1]
    return images, labels


@pytest.mark.parametrize(("epoch", "index"), [(0, 0), (2, 3)])
def test_mix_up_and_cut_mix_are_those_by_hand(pictures, epoch, index):
    plain, labels = make(pictures, None).batch(epoch, index)
    count = len(plain)
    images, targets = make(pictures, mix_up).batch(epoch, index)
    rng = rng_of(epoch, index)
    partners, share = rng.permutation(count), rng.beta(0.4, 0.4)
    for row, partner in enumerate(partners):
        expected = plain[row] * share + plain[partner] * (1 - share)
        np.testing.assert_allclose(images[row], expected, atol=1e-6)
        expected = labels[row] * share + labels[partner] * (1 - share)
        np.testing.assert_allclose(targets[row], expected, atol=1e-6)
    assert images.dtype == np.float32

    images, targets = make(pictures, cut_mix).batch(epoch, index)
    rng = rng_of(epoch, index)
    height, left = rng.integers(1, 6), rng.integers(0, 7)
    for row in range(count):
        for y in range(6):
            for x in range(7):
                source = count - 1 - row if y < height and x >= left else row
                np.testing.assert_array_equal(images[row, y, x], plain[source, y, x])
    share = height * (7 - left) / 42
    np.testing.assert_allclose(targets, (1 - share) * labels + share * labels[::-1], atol=1e-6)


def test_of_8_bits_what_is_mixed_is_rounded_and_cut_off(pictures):
    def brighten(images, labels, rng):
        return images * 1.7 - 3, labels

    plain, _ = make(pictures, None, dtype="uint8")[0]
    images, _ = make(pictures, brighten, dtype="uint8")[0]
    np.testing.assert_array_equal(images, np.clip(np.rint(plain * 1.7 - 3), 0, 255))


def test_the_same_bytes_whoever_makes_the_batches(pictures):
    """Of one that draws from `np.random` as well, as older code does."""

    def mix(images, labels, rng):
        images, labels = mix_up(images, labels, rng)
        return images * np.random.random(), labels  # noqa: NPY002 - older code

    expected = {
        (epoch, index): contents(make(pictures, mix).batch(epoch, index))
        for epoch in (1, 0)
        for index in (3, 0, 2, 1)
    }
    assert len(set(map(str, expected.values()))) == 8
    with ThreadPoolExecutor(3) as executor:
        for way in (
            {"workers": 0},
            {"workers": 2},
            {"workers": 16},
            PROCESSES,
            {"executor": executor, "workers": 3},
        ):
            with make(pictures, mix, **way) as generator:
                for epoch in range(2):
                    for index, batch in enumerate(generator):
                        assert contents(batch) == expected[epoch, index]
                        assert batch[0].ctypes.data % 64 == 0  # TensorFlow takes it as it is


def test_random_numbers_depend_on_seed_epoch_batch_and_shard_only(pictures):
    def draw(images, labels, rng):
        images[...] = number = rng.random()
        drawn.append(number)
        return images, labels

    drawn = []
    for shard in (0, 1):
        for epoch, index in ((1, 1), (0, 1), (1, 0)):
            make(pictures, draw, shard=(shard, 2)).batch(epoch, index)
            assert drawn[-1] == rng_of(epoch, index, shard).random()
    assert len(set(drawn)) == 6


def test_structures_are_kept_and_targets_may_get_another_type(pictures):
    ages = np.arange(22.0)

    def mix(inputs, targets, rng):
        assert set(inputs) == {"photo", "age"}
        assert targets[0].dtype == int
        return (
            {"age": np.full_like(inputs["age"], 1.5), "photo": inputs["photo"] * 0},
            [targets[0] / 2, np.zeros((len(targets[1]), 5))],
        )

    def only_pictures(images, targets, rng):
        assert targets is None
        return 1 - images, None

    names = pictures[:22]
    labels = (np.arange(22), np.eye(22))
    generator = Generator({"photo": names, "age": ages}, labels, 6, augment_batch=mix)
    inputs, (halves, zeros) = generator[1]
    assert (inputs["age"] == 1.5).all() and not inputs["photo"].any()
    assert halves.tolist() == [3, 3.5, 4, 4.5, 5, 5.5]
    assert zeros.shape == (6, 5)
    assert generator._columns.inputs["age"].values.tolist() == ages.tolist()
    images = Generator(names, None, 6, augment_batch=only_pictures)[1]
    np.testing.assert_array_equal(images, 1 - Generator(names, None, 6)[1])


WRONG = {
    "nothing": (lambda x, y, rng: None, r"expected \(images, targets\), received NoneType"),
    "one array": (lambda x, y, rng: x, "received ndarray"),
    "fewer images": (lambda x, y, rng: (x[1:], y), r"inputs of shape \(6, 6, 7, 3\), .*\(5, 6,"),
    "fewer targets": (lambda x, y, rng: (x, y[1:]), r"targets of 6 samples, received .*\(5, 3\)"),
    "a number": (lambda x, y, rng: (x, 1), r"targets of 6 samples, received shape \(\)"),
    "no targets": (lambda x, y, rng: (x, None), "another structure|targets of 6 samples"),
    "more inputs": (lambda x, y, rng: ((x, x), y), "what it returned has another structure"),
    "words": (lambda x, y, rng: (np.full(x.shape, "a"), y), "could not convert"),
    "an error": (lambda x, y, rng: x / 0 + {}[3], "augment_batch failed on batch 1 .*KeyError: 3"),
}


@pytest.mark.parametrize(("augment_batch", "message"), WRONG.values(), ids=WRONG)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_an_error_names_the_batch(pictures, augment_batch, message):
    with pytest.raises(AugmentError, match=f"^(?=.*batch 1 of epoch 2).*{message}"):
        make(pictures, augment_batch).batch(2, 1)


def test_another_structure_names_the_batch(pictures):
    labels = {"a": np.arange(22), "b": np.arange(22)}
    for wrong in (lambda y: [y["a"], y["b"]], lambda y: {"a": y["a"]}):
        generator = Generator(
            pictures[:22], labels, 6, augment_batch=lambda x, y, rng, wrong=wrong: (x, wrong(y))
        )
        with pytest.raises(AugmentError, match=r"batch 1 of epoch 2: .* another structure"):
            generator.batch(2, 1)
