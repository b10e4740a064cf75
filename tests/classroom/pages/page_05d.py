"""Typical mistakes in the exercises of notebook 05d."""

ENOUGH = """
def enough(read, decode, step, cores):
    for workers in range(1, 33):
        run = simulate(read=read, decode=decode, step=step, cores=cores, workers=workers,
                       queue={}, batches=200)
        if run.summary()["waiting (%)"] < {}:
            return workers
    return {}
"""

MISTAKES = {
    "05d.1": ["workers = 2", "workers = 4.5", "workers = 16", "workers = 7", "workers = '6'"],
    "05d.2": ["milliseconds = 40", "milliseconds = 60", "milliseconds = 100", "milliseconds = 25"],
    "05d.3": [
        ENOUGH.format(10, 10, None),  # the usual queue is too short
        ENOUGH.format(64, 0.1, None),  # percent, not a share
        ENOUGH.format(64, 10, 32),
        "def enough(read, decode, step, cores): return round((read + decode) / step)",
    ],
}
