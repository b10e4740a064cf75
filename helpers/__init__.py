"""Train Keras models on images that do not fit in memory.

Everything that a reader needs is named here and loaded when it is first used
(SPEC 1, https://scientific-python.org/specs/spec-0001/), so that a worker process
that imports ``helpers.images.batches`` does not pull in TensorFlow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "datasets.image_files": ["ImageFiles"],
        "datasets.folders": ["load_folder"],
        "datasets.tables": ["load_table"],
        "datasets.sample": ["load_sample", "load_sample_masks"],
        "datasets.photographs": ["load_photographs"],
        "datasets.messy": ["make_messy_folder"],
        "datasets.cifar10": ["load_cifar10"],
        "datasets.packing": ["pack"],
        "datasets.packed": ["load_pack", "verify_pack"],
        "images.reading": ["ImageError", "read_image"],
        "images.resizing": ["resize_image"],
        "generators.textbook": ["CIFAR10Sequence"],
        "generators.columns": ["Masks"],
        "generators.my_generator": ["MY_Generator"],
        "generators.order": ["balanced_order"],
        "generators.fit_generator": ["fit_generator"],
        "training.predictions": ["predictions"],
        "training.resume": ["BackupAndResume"],
        "profiling.timing": ["compare_workers", "time_epoch"],
        "profiling.timeline": ["Timeline"],
        "profiling.spans": ["Spans"],
        "profiling.simulation": ["simulate"],
        "profiling.diagnosis": ["diagnose"],
        "profiling.footprint": ["MemoryUse"],
        "plotting.gantt": ["plot_timeline"],
        "plotting.plots": [
            "plot_class_counts",
            "plot_history",
            "plot_report",
            "plot_workers",
            "show_batch",
        ],
        "widgets.browse_batches": ["browse_batches"],
        "widgets.play_pipeline": ["play_pipeline"],
        "checks": ["check_machine", "check_sequence"],
        "quiet": ["quiet_tensorflow"],
    },
)
