"""Sinks: where a sweep is told of: its folder, its report, MLflow."""
