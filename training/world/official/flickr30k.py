"""Flickr30k: dataset_flickr30k.json, and Entities' sentences and boxes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from training.world.kinds import KINDS
from training.world.scene import Scene, Thing
from training.world.words.captions import ENTITY_TYPES, Caption, Phrase, living_captions

from .corpus import SPLITS, Corpus
from .files import write_text
from .karpathy import KarpathyFile
from .names import flickr30k_chain, flickr30k_id, flickr30k_name

Chains = Mapping[tuple[int, ...], int]
"""The number of each entity of a picture: of a thing, of several named together, of the place ()."""


def write(root: Path, corpus: Corpus) -> None:
    """Write five captions of every Flickr30k picture, and what their phrases mean."""
    collected = KarpathyFile("flickr30k", flickr30k_name, lambda scene: {})
    for split in SPLITS:
        scenes = corpus.of("flickr30k", split)
        captions = living_captions(scenes, corpus.rng("flickr30k", split))
        collected.add(scenes, captions)
        for scene in scenes:
            _write_entities(root / "flickr30k", scene, captions[scene.id])
    collected.write(root / "flickr30k/dataset_flickr30k.json")


def _write_entities(folder: Path, scene: Scene, captions: Sequence[Caption]) -> None:
    chains = _chains(scene, captions)
    lines = "".join(f"{_marked(scene, caption, chains)}\n" for caption in captions)
    write_text(folder / f"Sentences/{flickr30k_id(scene)}.txt", lines)
    write_text(folder / f"Annotations/{flickr30k_id(scene)}.xml", _boxes(scene, chains))


def _chains(scene: Scene, captions: Sequence[Caption]) -> Chains:
    """Number the things, then whatever else the captions name, in order of mention."""
    named: list[tuple[int, ...]] = [(index,) for index in range(len(scene.things))]
    for caption in captions:
        named += [piece.things for piece in caption.pieces if isinstance(piece, Phrase) and piece.things not in named]
    return {things: flickr30k_chain(scene, place) for place, things in enumerate(dict.fromkeys(named))}


def _marked(scene: Scene, caption: Caption, chains: Chains) -> str:
    words = [piece if isinstance(piece, str) else _mark(scene, piece, chains) for piece in caption.pieces]
    return " ".join((*_capitalised(words), "."))


def _capitalised(words: Sequence[str]) -> list[str]:
    """Begin with a capital letter, after the mark where the sentence begins with one."""
    start = words[0].find(" ") + 1 if words[0].startswith("[") else 0
    first = words[0]
    return [f"{first[:start]}{first[start].upper()}{first[start + 1 :]}", *words[1:]]


def _mark(scene: Scene, phrase: Phrase, chains: Chains) -> str:
    return f"[/EN#{chains[phrase.things]}/{_entity_type(scene, phrase)} {phrase.words}]"


def _entity_type(scene: Scene, phrase: Phrase) -> str:
    if not phrase.things:
        return "scene"
    return ENTITY_TYPES.get(KINDS[scene.things[phrase.things[0]].kind].supercategory, "other")


def _boxes(scene: Scene, chains: Chains) -> str:
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = flickr30k_name(scene)
    size = ElementTree.SubElement(root, "size")
    for name, value in (("width", scene.width), ("height", scene.height), ("depth", 3)):
        ElementTree.SubElement(size, name).text = str(value)
    for index, thing in enumerate(scene.things):
        _add_object(root, [chain for things, chain in chains.items() if index in things], thing)
    if () in chains:
        _add_scene(root, chains[()])
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _add_object(root: ElementTree.Element, chains: Sequence[int], thing: Thing) -> None:
    """Add a box; corners count from 1 and are inside."""
    found = ElementTree.SubElement(root, "object")
    for chain in chains:
        ElementTree.SubElement(found, "name").text = str(chain)
    box = ElementTree.SubElement(found, "bndbox")
    x1, y1, x2, y2 = thing.box_px
    for name, value in (("xmin", x1 + 1), ("ymin", y1 + 1), ("xmax", x2), ("ymax", y2)):
        ElementTree.SubElement(box, name).text = str(value)


def _add_scene(root: ElementTree.Element, chain: int) -> None:
    found = ElementTree.SubElement(root, "object")
    ElementTree.SubElement(found, "name").text = str(chain)
    ElementTree.SubElement(found, "scene").text = "1"
    ElementTree.SubElement(found, "nobndbox").text = "0"
