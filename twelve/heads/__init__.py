"""Six heads on one trunk; a task names the one that answers it."""

from collections.abc import Callable

from twelve.heads.alignment import AlignmentHead
from twelve.heads.answers import GqaAnswersHead, VqaAnswersHead
from twelve.heads.base import Head
from twelve.heads.entailment import EntailmentHead
from twelve.heads.grounding import GroundingHead
from twelve.heads.pair import PairHead
from twelve.model.config import ModelConfig

HEADS: dict[str, Callable[[ModelConfig], Head]] = {
    head.name: head for head in (VqaAnswersHead, GqaAnswersHead, AlignmentHead, GroundingHead, PairHead, EntailmentHead)
}

__all__ = ["HEADS", "Head"]
