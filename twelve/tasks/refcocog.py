"""RefCOCOg: longer sentences (arXiv:1511.02283)."""

from twelve.tasks.kinds.referring import Referring


class RefCocoG(Referring):
    """Referring expressions in the manner of RefCOCOg."""

    name = "refcocog"
    token = 11
    summary = "Find the box that an expression means (RefCOCOg: longer sentences)."


TASK = RefCocoG()
