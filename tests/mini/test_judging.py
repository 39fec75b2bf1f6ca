import random

import torch

from gesso.mini.judging import examination, look_at
from gesso.mini.rendering import compose, render, whole


def test_true_renderings_are_judged_right_in_every_respect() -> None:
    rng = random.Random(0)
    for scene, _ in examination(rng, 96):
        picture = compose(scene, 896, 1152, rng)
        seen = look_at(render(picture, whole(picture, 8)))
        thing = scene.things[0]
        assert (seen.shape, seen.colour, seen.ground, seen.place) == (
            thing.shape,
            thing.colour,
            scene.ground.first,
            thing.place,
        )


def test_a_shapeless_picture_is_judged_to_show_nothing() -> None:
    picture = torch.zeros(3, 64, 64)
    picture[:, 30:34, 4:60] = 1
    assert look_at(picture).shape == "nothing"


def test_an_examination_asks_for_every_shape_equally_often_in_words() -> None:
    questions = examination(random.Random(1), 64)
    assert all(sum(scene.things[0].shape == shape for scene, _ in questions) == 8 for shape in ("circle", "cross"))
    assert all(scene.things[0].colour in caption.text for scene, caption in questions)
