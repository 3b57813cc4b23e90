"""Dealing a total out evenly."""


def quotas(total: int, parts: int) -> list[int]:
    """Deal a total out to so many parts, as evenly as whole numbers can, the surplus spread over all."""
    return [(part + 1) * total // parts - part * total // parts for part in range(parts)]
