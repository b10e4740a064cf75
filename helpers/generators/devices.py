"""Batches and the devices that share them: refused before training on wrong numbers."""

import keras

from helpers.generators.order import EpochOrder


def check_shares(order: EpochOrder) -> None:
    """Refuse shards whose last step is not shared evenly, where that gives wrong gradients."""
    left_over = order.samples_per_epoch % order.shard[1]
    if left_over and not order.drop_last and keras.backend.backend() == "jax":
        raise ValueError(
            f"shard {order.shard!r} of {order.samples_per_epoch} files: Keras needs equal shares "
            f"on JAX; leave {left_over} of them out, or pass drop_last=True"
        )


def check_devices(order: EpochOrder) -> None:
    """Refuse batches that the devices of a distribution cannot share evenly."""
    if (distribution := keras.distribution.distribution()) is None:
        return
    mesh = distribution.device_mesh
    devices = dict(zip(mesh.axis_names, mesh.shape, strict=True))[distribution.batch_dim_name]
    here = max(devices // distribution.num_processes, 1)
    sizes = len(order.samples(0, 0)), len(order.samples(0, order.batches_per_epoch - 1))
    if sizes[0] % here:
        raise ValueError(f"batch_size {order.batch_size} is no multiple of {here} devices")
    if sizes[1] % here:
        raise ValueError(
            f"the last batch of an epoch has {sizes[1]} images, which {here} devices cannot "
            f"share evenly: pass drop_last=True to leave it out, or take another batch_size"
        )
