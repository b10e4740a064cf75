"""What is right in the exercises: a file for each notebook, with a check for each exercise.

A check returns None if an answer is right, else a sentence that says what is wrong and does
not give the answer away.
"""
