"""The model in four graphs — text, regions, fuse, heads — over runtimes."""

from twelve.engines.engine import Engine

__all__ = ["Engine"]
