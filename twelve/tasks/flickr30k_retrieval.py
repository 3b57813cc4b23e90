"""Flickr30k captions: which picture a caption describes (Young et al., TACL 2014)."""

from twelve.tasks.kinds.retrieving import Retrieving


class Flickr30kRetrieval(Retrieving):
    """Caption-based image retrieval in the manner of Flickr30k."""

    name = "flickr30k-retrieval"
    token = 8
    summary = "Find the picture that a caption describes (Flickr30k)."


TASK = Flickr30kRetrieval()
