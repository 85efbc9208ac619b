"""Experiments: training of the bundled models, suites, sweeps and benchmarks. It imports `jc1`, never the reverse."""
