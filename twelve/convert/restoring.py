"""From a folder of ours back to a published checkpoint, nothing lost.

What serves stands in `model.safetensors`. What does not is kept only where somebody asked for it, in files that nothing
that serves opens: the pre-training heads in `pretraining.safetensors`, and the dead parameters, as data under their
published names, in `dead.safetensors`.
"""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from twelve.convert.names import published_state
from twelve.errors import BundleMissing
from twelve.heads.model import TwelveModel

DEAD_FILE = "dead.safetensors"


def keep_dead(dead: Mapping[str, Tensor], folder: Path) -> None:
    """Keep a checkpoint's dead parameters beside a model.

    Args:
        dead: By published name, as `names.sort_out` gives them.
        folder: Of the model.
    """
    save_file({name: tensor.contiguous() for name, tensor in dead.items()}, folder / DEAD_FILE)


def published_checkpoint(folder: Path) -> dict[str, Tensor]:
    """Put a published checkpoint together again.

    Args:
        folder: Of a model, with its pre-training heads and dead parameters kept.

    Returns:
        The state dict that the published code reads, float32; the tied decoder shares the word table's memory.

    Raises:
        BundleMissing: Something was not kept; names its file.
        ConfigInvalid: The published model has no place for a parameter, or a tensor does not fit; names it.
    """
    if not (folder / DEAD_FILE).is_file():
        raise BundleMissing(f"{folder / DEAD_FILE} is not there; import the checkpoint again, keeping everything of it")
    model = TwelveModel.load(folder)
    model.load_pretraining(folder)
    dead = {name: tensor.float() for name, tensor in load_file(folder / DEAD_FILE).items()}
    return published_state(model.state_dict(), dead)
