"""Benchmarks: scripts that measure JC1 and print what they found.

Run one with `python -m experiments.benchmarks.<name>`; `--help` tells its options. It prints a single JSON object on
standard output: the name, the machine, the versions that matter, and `results` with the unit in each key. Where two
things are compared both run in the same process, in turns, so that a busy machine slows both alike; a figure is the
median of its repetitions, and the smallest one stands beside it where noise matters. Nothing is written to a file:
redirect the output to keep it.
"""
