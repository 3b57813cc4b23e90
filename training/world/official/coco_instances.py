"""Things as COCO's detection files have them: boxes, polygons, areas, categories."""

from collections.abc import Sequence

from training.world.kinds import KINDS, Kind
from training.world.scene import Scene, Thing

from .files import Json
from .names import coco_id, coco_name, coco_thing, coco_url

_ANY_DAY = "2014-01-01 00:00:00"


def instances(scenes: Sequence[Scene]) -> dict[str, Json]:
    """Give every thing of some pictures in the form of COCO's instances.json."""
    return {
        "info": {"description": "The small world, in the format of COCO 2014.", "version": "1.0", "year": 2014},
        "images": [_image(scene) for scene in scenes],
        "licenses": [{"id": 1, "name": "Apache License 2.0", "url": "http://www.apache.org/licenses/LICENSE-2.0"}],
        "annotations": [
            _annotation(scene, index, thing) for scene in scenes for index, thing in enumerate(scene.things)
        ],
        "categories": [_category(kind) for kind in KINDS.values()],
    }


def box_xywh(thing: Thing) -> list[float]:
    """Give a thing's box as COCO does: x, y, width, height."""
    x1, y1, x2, y2 = thing.box_px
    return [float(x1), float(y1), float(x2 - x1), float(y2 - y1)]


def _image(scene: Scene) -> dict[str, Json]:
    return {
        "id": coco_id(scene),
        "file_name": coco_name(scene),
        "height": scene.height,
        "width": scene.width,
        "coco_url": coco_url(scene),
        "flickr_url": "",
        "date_captured": _ANY_DAY,
        "license": 1,
    }


def _annotation(scene: Scene, index: int, thing: Thing) -> dict[str, Json]:
    return {
        "segmentation": [list(thing.polygon_px)],
        "area": thing.area_px,
        "iscrowd": 0,
        "image_id": coco_id(scene),
        "bbox": box_xywh(thing),
        "category_id": KINDS[thing.kind].category_id,
        "id": coco_thing(scene, index),
    }


def _category(kind: Kind) -> dict[str, Json]:
    return {"supercategory": kind.supercategory, "id": kind.category_id, "name": kind.name}
