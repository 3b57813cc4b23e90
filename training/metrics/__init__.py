"""Figures of a whole split as each data set's own evaluation computes them; docs/metrics.md lists them."""
