"""What Keras reads from.

In come names of files, and labels; out come batches, (images, labels), for ``model.fit``. The
article's `CIFAR10Sequence` as a textbook has it, `MY_Generator` for real work, and
`fit_generator`, which Keras 3 took away.
"""
