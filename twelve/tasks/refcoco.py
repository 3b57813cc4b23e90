"""RefCOCO: short expressions, location words allowed (Kazemzadeh et al., EMNLP 2014)."""

from twelve.tasks.kinds.referring import Referring


class RefCoco(Referring):
    """Referring expressions in the manner of RefCOCO."""

    name = "refcoco"
    token = 9
    summary = "Find the box that an expression means (RefCOCO: short expressions, location words allowed)."


TASK = RefCoco()
