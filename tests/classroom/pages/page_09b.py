"""Mistakes that are often made in notebook 09b."""

HEAD = "def share_of(order, index, count, batch_size, step):\n"

MISTAKES = {
    "09b.1": ["steps = 12", "steps = 36", "steps = 3"],
    "09b.2": [
        HEAD + "    return order[step * batch_size : (step + 1) * batch_size]",
        HEAD + "    return order[index::count]",
        HEAD + "    start = (step * count + index) * batch_size\n"
        "    return range(start, start + batch_size)",
    ],
}
