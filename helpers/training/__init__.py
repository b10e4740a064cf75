"""Training beyond one run and beyond one machine.

In comes a `MY_Generator`; out comes a trained model, though its training was interrupted or
spread over several hosts: go on from the last backup, be one of several trainers, or start
several trainers here and compare them with one.
"""
