"""Mistakes that are often made in notebook 04c."""

MISTAKES = {
    "04c.1": [
        """def next_order(batches):
    order = list(range(batches))
    random.shuffle(order)  # of random itself
    return order
""",
        """def next_order(batches):
    order = list(range(batches))
    random.Random().shuffle(order)  # with a state of its own
    return order
""",
        """def next_order(batches):
    copy = random.Random()
    copy.setstate(random.getstate())
    order = list(range(batches))
    return copy.shuffle(order)  # None
""",
        """def next_order(batches):
    copy = random.Random()
    copy.setstate(random.getstate())
    order = list(range(8))
    copy.shuffle(order)
    return order
""",
    ],
    "04c.2": [
        """def lost_and_repeated(came, batches):
    return sorted(set(range(batches)) - set(came))
""",
        """def lost_and_repeated(came, batches):
    lost = [number for number in range(batches) if number not in came]
    return lost, [number for number in came if came.count(number) > 1]
""",
        """def lost_and_repeated(came, batches):
    lost = [number for number in range(batches) if number not in came]
    return lost, [number for number in range(batches) if came.count(number) == 2]
""",
    ],
}
