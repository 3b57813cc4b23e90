"""Visual Genome QA: free questions, one annotator, the answers of VQAv2's head (arXiv:1602.07332)."""

from twelve.tasks.kinds.answering import Answering


class VisualGenomeQa(Answering):
    """Visual Genome's questions, answered from VQAv2's vocabulary."""

    name = "vg-qa"
    token = 2
    head = "vqa"
    most_tokens = 26
    batch_size = 128
    summary = "Answer a what, where, who or how-many question about a picture (Visual Genome QA)."


TASK = VisualGenomeQa()
