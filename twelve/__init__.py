"""Twelve vision-and-language tasks, one model: the library under the server, the trainer and the exporter."""

__version__ = "0.1.0"
