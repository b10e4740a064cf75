"""Where a batch is made.

In comes a `BatchRequest`, out comes a `LoadedBatch`: made in the thread that asks, by
processes of our own that write into shared memory, or by any executor. What dies or hangs on
the way becomes a second try, or one clear error.
"""
