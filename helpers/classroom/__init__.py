"""What the notebooks need of a classroom: guesses, exercises, and copies to work in.

A notebook imports ``check_exercise``, ``checked``, ``compare_guess`` and ``show`` from here;
``pages`` holds what is right in each of its exercises. The other files are tools that a
notebook uses and that are no lesson, each in a file that can be read in a minute.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "exercises": ["check_exercise", "checked"],
        "guesses": ["compare_guess"],
        "showing": ["show"],
    },
)
