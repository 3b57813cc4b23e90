"""SNLI-VE: whether a picture entails a statement, contradicts it or leaves it open (arXiv:1901.06706)."""

from twelve.tasks.kinds.entailing import Entailing


class SnliVe(Entailing):
    """Visual entailment."""

    name = "snli-ve"
    token = 13
    summary = "Say whether a picture entails a statement, contradicts it or leaves it open (SNLI-VE)."


TASK = SnliVe()
