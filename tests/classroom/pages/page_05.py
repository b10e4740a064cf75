"""Typical mistakes in the exercises of notebook 05."""

SLOW = """
import time
class SlowDisk(Parts):
    def __getitem__(self, index):
        {}
advice = {!r}
"""
WAITS = "time.sleep(0.2); return super().__getitem__(index)"

MISTAKES = {
    "05.1": [
        """
def standing_still(table):
    training = table.query("lane == 'training'")
    still = training.query("kind == 'wait'")["seconds"].sum()
    return 100 * still / (training["stop"].max() - training["start"].min())
""",
        """
def standing_still(table):
    still = table.query("kind in ['wait', 'hand-over']")["seconds"].sum()
    return 100 * still / (table["stop"].max() - table["start"].min())
""",
        """
def standing_still(table):
    training = table.query("lane == 'training'")
    still = training.query("kind != 'step'")["seconds"].sum()
    return still / (training["stop"].max() - training["start"].min())
""",
        """
def standing_still(table):
    training = table.query("lane == 'training'")
    return 100 * training.query("kind != 'step'")["seconds"].sum() / training["stop"].max()
""",
    ],
    "05.2": ["frame = 197", "frame = 6", "frame = 0", "frame = 3.0"],
    "05.3": [
        SLOW.format(WAITS, "faster code"),
        SLOW.format(WAITS, "a disk"),
        SLOW.format("return super().__getitem__(index)", "more workers"),
        SLOW.format("time.sleep(0.2)", "more workers"),
        SLOW.format("time.sleep(0.2); return super().__getitem__(0)", "more workers"),
        SLOW.format("time.sleep(1.2); return super().__getitem__(index)", "more workers"),
    ],
}
