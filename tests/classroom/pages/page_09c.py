"""Mistakes that are often made in notebook 09c."""

MISTAKES = {
    "09c.1": ["waiting_workers = demand * latency", "waiting_workers = demand / 40"],
    "09c.2": [
        "most = 10e9 / (224 * 224 * 3)",
        "most = 10e9 / 8 / (224 * 224)",
        "most = 10e9 / 8 / (4 * 224 * 224 * 3)",
    ],
}
