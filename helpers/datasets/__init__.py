"""Which files there are.

In comes the name of a folder, or nothing; out come `ImageFiles`: names of files, a label for
each, and the names of the classes. The files are your own, the drawn sample, the real CIFAR-10,
or pictures packed into a few large files. No picture is read here but to pack it.
"""
