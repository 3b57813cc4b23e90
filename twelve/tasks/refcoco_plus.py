"""RefCOCO+: expressions without location words (arXiv:1608.00272)."""

from twelve.tasks.kinds.referring import Referring


class RefCocoPlus(Referring):
    """Referring expressions in the manner of RefCOCO+."""

    name = "refcoco+"
    aliases = ("refcoco-plus",)
    token = 10
    summary = "Find the box that an expression means (RefCOCO+: expressions without location words)."


TASK = RefCocoPlus()
