"""Experiments: training of the bundled models, suites, sweeps and benchmarks. Imports `jc1`; is never imported by it."""
