"""NLVR2: whether a statement is true of two pictures (arXiv:1811.00491)."""

from twelve.tasks.kinds.comparing import Comparing


class Nlvr2(Comparing):
    """Comparing two pictures."""

    name = "nlvr2"
    token = 12
    summary = "Say whether a statement is true of two pictures (NLVR2)."


TASK = Nlvr2()
