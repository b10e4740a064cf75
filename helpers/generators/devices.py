"""Batches and the devices that share them: refused before training on wrong numbers."""

import keras

from helpers import arguments
from helpers.generators.order import EpochOrder


def check_shares(order: EpochOrder) -> None:
    """Refuse shards whose last step is not shared evenly, where that gives wrong gradients."""
    left_over = order.samples_per_epoch % order.shard[1]
    files = arguments.counted(order.samples_per_epoch, "file")
    if left_over and not order.drop_last and keras.backend.backend() == "jax":
        raise ValueError(
            f"shard {order.shard!r} of {files}: Keras needs equal shares on JAX; "
            f"leave {left_over} of them out, or pass drop_last=True"
        )


def check_devices(order: EpochOrder) -> None:
    """Refuse batches that the devices of a distribution cannot share evenly."""
    if (distribution := keras.distribution.distribution()) is None:
        return
    mesh = distribution.device_mesh
    devices = dict(zip(mesh.axis_names, mesh.shape, strict=True))[distribution.batch_dim_name]
    here = max(devices // distribution.num_processes, 1)
    sizes = len(order.samples(0, 0)), len(order.samples(0, order.batches_per_epoch - 1))
    shared = arguments.counted(here, "device")
    if sizes[0] % here:
        raise ValueError(f"batch_size {order.batch_size} is no multiple of {shared}")
    if sizes[1] % here:
        raise ValueError(
            f"the last batch of an epoch has {arguments.counted(sizes[1], 'image')}, which "
            f"{shared} cannot share evenly: pass drop_last=True to leave it out, or take another "
            f"batch_size"
        )
