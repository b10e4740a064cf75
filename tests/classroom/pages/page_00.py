"""Mistakes that are often made in notebook 00."""

MISTAKES = {
    "00.1": [
        "of_each_class = 200",
        "of_each_class = len(test.labels)",
        "of_each_class = np.bincount(train.labels).min()",
        "of_each_class = plot_class_counts(test)",
    ],
    "00.2": [
        "others = train.shuffled(seed=0).select(range(16))",
        "others = train.select(range(16))",
        "others = train.shuffled(seed=1)",
        "others = train.shuffled(seed=1).filenames[:16]",
    ],
}
