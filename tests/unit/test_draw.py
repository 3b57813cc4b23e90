import io

import numpy as np
import pytest
from PIL import Image

from twelve.draw import (
    BEST,
    GAP,
    GROUPS,
    INK,
    LEAST_WIDTH,
    MOST_COLUMNS,
    MOST_WIDTH,
    OTHER,
    Mark,
    Panel,
    drawing,
    sample,
)
from twelve.image import ImageLimits, decode

GREY = np.full((240, 320, 3), 90, dtype=np.uint8)


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def places(image, color):
    """Rows and columns of the pixels of a colour."""
    return np.nonzero((image == color).all(axis=2))


def blank(width, height):
    return np.full((height, width, 3), 90, dtype=np.uint8)


def test_a_small_picture_is_enlarged_and_its_box_lies_where_it_was():
    image = pixels(drawing([Panel(GREY, (Mark((100, 60, 200, 180), ""),))], "a"))
    rows, columns = places(image, BEST)

    assert image.shape[1] == LEAST_WIDTH
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == (200, 120, 400, 360)


def test_a_large_picture_is_made_smaller():
    assert pixels(drawing([Panel(blank(4000, 100))], "a")).shape[1] == MOST_WIDTH


def test_a_picture_of_ordinary_size_keeps_it():
    assert pixels(drawing([Panel(blank(800, 600))], "a")).shape[1] == 800


def test_a_label_stands_above_its_box():
    plain, labelled = (
        places(pixels(drawing([Panel(GREY, (Mark((100, 60, 200, 180), label),))], "a")), BEST)
        for label in ("", "car 0.93")
    )

    assert labelled[0].min() < plain[0].min()
    assert len(labelled[0]) > len(plain[0])


@pytest.mark.parametrize("box", [(0, 0, 320, 240), (310, 0, 330, 10), (-50, 235, 5, 300), (319, 239, 320, 240)])
def test_a_label_at_an_edge_stays_inside_the_picture(box):
    bare = pixels(drawing([Panel(GREY, (Mark(box, ""),))], ""))
    image = pixels(drawing([Panel(GREY, (Mark(box, "label"),))], ""))

    assert image.shape == bare.shape
    assert (image != bare).any()
    assert len(places(image[:480], BEST)[0]) > 100 * 20 / 4


def test_the_best_box_lies_over_the_others():
    marks = (Mark((10, 10, 100, 100), "0", is_best=False), Mark((10, 10, 100, 100), ""))
    image = pixels(drawing([Panel(GREY, marks)], "a"))

    assert tuple(image[20, 100]) == BEST
    assert len(places(image, OTHER)[0])


def test_boxes_of_one_group_share_a_colour_and_groups_differ_as_far_as_there_are_colours():
    names = ["car", "car", *(f"kind {number}" for number in range(len(GROUPS) - 1))]
    marks = [Mark((30 * place, 20, 30 * place + 20, 40), "", group=name) for place, name in enumerate(names)]
    image = pixels(drawing([Panel(blank(640, 60), tuple(reversed(marks)))], ""))
    colours = [tuple(image[30, 30 * place]) for place in range(len(marks))]

    assert colours[0] == colours[1] == BEST
    assert set(colours) == set(GROUPS)


def test_letters_can_be_read_on_every_colour():
    def brightness(color):
        return 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]

    assert min(brightness(color) - brightness(INK) for color in GROUPS) > 128


def test_pictures_stand_side_by_side_and_the_chosen_one_is_framed():
    image = pixels(drawing([Panel(blank(400, 300)), Panel(blank(400, 300), is_chosen=True)], "a"))
    _, columns = places(image, BEST)

    assert image.shape[1] == 2 * 400 + GAP
    assert columns.min() == 400 + GAP


def test_many_pictures_break_into_rows():
    one = pixels(drawing([Panel(blank(400, 400))] * MOST_COLUMNS, "a"))
    two = pixels(drawing([Panel(blank(400, 400))] * (MOST_COLUMNS + 1), "a"))

    assert two.shape[1] == one.shape[1]
    assert two.shape[0] == one.shape[0] + (MOST_WIDTH - GAP * (MOST_COLUMNS - 1)) // MOST_COLUMNS + GAP


@pytest.mark.parametrize("caption", ["word " * 60, "w" * 300])
def test_a_long_caption_is_broken_into_lines_of_which_none_is_cut(caption):
    short, long = (pixels(drawing([Panel(GREY)], text)) for text in ("word", caption))

    assert long.shape[0] > short.shape[0]
    assert (long[480:, -GAP:] == 255).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1)])
def test_a_picture_of_one_pixel_can_be_drawn(size):
    image = pixels(drawing([Panel(blank(*size), (Mark((0, 0, 1, 1), "x"),))], "a"))

    assert image.shape[1] == LEAST_WIDTH
    assert image.shape[0] < 2000


def test_the_sample_is_a_picture_that_the_decoder_reads():
    picture = decode(sample(), limits=ImageLimits())

    assert (picture.width, picture.height) == (320, 240)
    assert len(np.unique(picture.rgb.reshape(-1, 3), axis=0)) == 5
