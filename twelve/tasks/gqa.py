"""GQA: compositional questions made from scene graphs (arXiv:1902.09506)."""

from twelve.tasks.kinds.answering import Answering


class Gqa(Answering):
    """Compositional questions with a vocabulary of their own."""

    name = "gqa"
    token = 15
    head = "gqa"
    most_tokens = 26
    batch_size = 128
    summary = "Answer a compositional question about a picture (GQA)."


TASK = Gqa()
