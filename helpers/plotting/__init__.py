"""Pictures to look at.

In come arrays and tables, out come matplotlib figures on a white ground, or a trace for
another program to draw. Nothing here measures, and nothing knows of generators: who has a
``plot`` method stands above this wing.
"""
