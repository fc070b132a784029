"""Slow twins of the core: the specification, written for reading and not for speed.

Only numpy is used. Nothing here imports the package under test.
"""
