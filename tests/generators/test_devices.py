"""Batches that devices share; tests/test_backends.py and tests/training/test_hosts.py have real
ones."""

from types import SimpleNamespace

import keras
import pytest

from helpers.generators.devices import check_devices, check_shares
from helpers.generators.order import EpochOrder


def order_of(files, batch_size, drop_last=False, shard=None, order=None):
    return EpochOrder(files, batch_size, 0, False, order, shard, drop_last)


@pytest.mark.parametrize(
    ("files", "order", "drop_last", "left_over"),
    [
        (10, None, False, 0),
        (11, None, False, 1),
        (11, None, True, 0),
        (11, lambda epoch, rng: range(8), False, 0),  # it is what an epoch has that counts
        (12, lambda epoch, rng: range(9), False, 1),
    ],
)
def test_shares_must_be_equal_on_jax(monkeypatch, files, order, drop_last, left_over):
    shard = order_of(files, 2, drop_last, (1, 2), order)
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    check_shares(shard)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    check_shares(order_of(files, 2))  # the only generator
    if left_over:
        with pytest.raises(ValueError, match=rf"shard \(1, 2\) of {shard.samples_per_epoch} files"):
            check_shares(shard)
    else:
        check_shares(shard)


@pytest.fixture
def distribution(monkeypatch):
    """Eight devices in a mesh of 4 × 2, of two hosts: two on each share a batch."""
    mesh = SimpleNamespace(axis_names=["batch", "model"], shape=(4, 2))
    made = SimpleNamespace(device_mesh=mesh, batch_dim_name="batch", num_processes=2)
    monkeypatch.setattr(keras.distribution, "distribution", lambda: made)


def test_devices_need_batches_that_they_can_share(distribution):
    check_devices(order_of(12, 4))
    check_devices(order_of(14, 4))  # a last batch of two
    check_devices(order_of(13, 4, drop_last=True))
    with pytest.raises(ValueError, match="batch_size 3 is no multiple of 2 devices"):
        check_devices(order_of(12, 3))
    with pytest.raises(ValueError, match="the last batch of an epoch has 1 image, which 2 dev"):
        check_devices(order_of(13, 4))


def test_without_a_distribution_any_batches_will_do(monkeypatch):
    monkeypatch.setattr(keras.distribution, "distribution", lambda: None)
    check_devices(order_of(13, 3))
