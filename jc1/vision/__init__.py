"""Seeing: pictures from a request's bytes or addresses to what a model looks at."""
