"""Where time and memory go.

In come a generator and a model that train, or times to reckon with; out come tables and words:
how fast batches came, what happened to each of them, what limits the run, what it would do
with more workers, and how much memory it took.
"""
