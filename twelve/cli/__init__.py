"""`twelve`: the questions, the bundles and the index from the command line."""

from twelve.cli.app import main

__all__ = ["main"]
