"""Pictures to play with, in a notebook (ipywidgets).

In come a generator, or the times of a pipeline; out comes a box: controls, a picture that
follows them, and a line of words. Where no widgets run (a notebook that is read on GitHub,
printed or tested) the box is its present picture.
"""
