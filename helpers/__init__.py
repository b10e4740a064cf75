"""Train Keras models on images that do not fit in memory.

Everything that a reader needs is named here and loaded when it is first used
(SPEC 1, https://scientific-python.org/specs/spec-0001/), so that a worker process
that imports ``helpers.images.batches`` does not pull in TensorFlow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "datasets.folders": ["ImageFiles", "load_cifar10", "load_folder", "load_sample"],
        "datasets.packing": ["load_pack", "pack", "verify_pack"],
        "images.batches": ["ImageError", "read_image", "resize_image"],
        "generators.my_generator": ["CIFAR10Sequence", "MY_Generator", "fit_generator"],
        "training.resume": ["BackupAndResume"],
        "profiling.timing": ["compare_workers", "time_epoch"],
        "profiling.timeline": ["Timeline"],
        "profiling.spans": ["Spans"],
        "profiling.simulation": ["simulate"],
        "profiling.diagnosis": ["diagnose"],
        "plotting.gantt": ["plot_timeline"],
        "profiling.footprint": ["MemoryUse"],
        "plotting.plots": [
            "plot_class_counts",
            "plot_history",
            "plot_report",
            "plot_workers",
            "show_batch",
        ],
        "widgets.playground": ["browse_batches", "play_pipeline"],
        "checks": ["check_machine", "check_sequence"],
        "quiet": ["quiet_tensorflow"],
    },
)
