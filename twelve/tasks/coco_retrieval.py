"""COCO captions: which picture a caption describes (arXiv:1504.00325)."""

from twelve.tasks.kinds.retrieving import Retrieving


class CocoRetrieval(Retrieving):
    """Caption-based image retrieval in the manner of COCO."""

    name = "coco-retrieval"
    token = 7
    summary = "Find the picture that a caption describes (COCO)."


TASK = CocoRetrieval()
