import random

import pytest
import torch

from gesso.mini.captions import SHAPE_WORDS, attributes, caption_of, wrapped
from gesso.mini.looks import LOOKS, Look
from gesso.mini.rendering import Window, compose, render, whole
from gesso.mini.scenes import COLOURS, SHAPES, Ground, Scene, Thing, sample_scene
from gesso.mini.shapes import DISTANCES


def lone(shape: str, colour: str, ground: str, place: str = "centre", size: str = "medium") -> Scene:
    return Scene((Thing(shape, colour, size, place),), Ground("plain", ground, "black"))


@pytest.mark.parametrize(("width", "height"), [(512, 512), (896, 1152), (1152, 896), (2048, 512), (515, 701)])
def test_a_scene_renders_at_any_size_and_aspect(width: int, height: int) -> None:
    picture = compose(sample_scene(random.Random(1), 0.0), width, height, random.Random(2))
    shown = render(picture, whole(picture, 8))
    assert shown.shape == (3, -(-height // 8), -(-width // 8))
    assert 0 <= shown.min() < shown.max() <= 1


@pytest.mark.parametrize("shape", SHAPES)
def test_every_outline_is_inside_at_about_unit_size_and_outside_beyond(shape: str) -> None:
    axis = torch.linspace(-2, 2, 201)
    inside = DISTANCES[shape](axis.view(1, -1), axis.view(-1, 1)) < 0
    area = inside.float().mean().item() * 16
    assert 1.0 < area < 3.6
    assert not inside[0].any()
    assert not inside[:, 0].any()


def test_a_thing_is_painted_in_its_colour_at_its_place_on_its_ground() -> None:
    picture = compose(lone("circle", "red", "blue", "top right"), 896, 1152, random.Random(0))
    shown = render(picture, whole(picture, 4))
    thing = picture.placed[0]
    assert thing.x > 0.2
    assert thing.y < -0.2
    column, row = int((thing.x + 1) / 2 * 224), int((thing.y + 1152 / 896) / 2 * 224)
    assert torch.allclose(shown[:, row, column] * 255, torch.tensor(COLOURS["red"]).float())
    assert torch.allclose(shown[:, -1, 0] * 255, torch.tensor(COLOURS["blue"]).float())


def test_a_window_shows_exactly_its_part_of_the_whole() -> None:
    picture = compose(sample_scene(random.Random(5), 0.0), 512, 640, random.Random(6))
    assert torch.allclose(
        render(picture, Window(64, 96, 128, 160)), render(picture, whole(picture))[:, 96:256, 64:192], atol=1e-5
    )


def test_things_stay_inside_the_picture() -> None:
    rng = random.Random(3)
    for _ in range(200):
        picture = compose(sample_scene(rng, 0.0), 896, 1152, rng)
        half_width, half_height = picture.extent
        assert all(abs(p.x) + p.radius < half_width + 0.06 for p in picture.placed)
        assert all(abs(p.y) + p.radius < half_height + 0.06 for p in picture.placed)


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_every_look_changes_the_picture_and_keeps_it_in_range(look: Look) -> None:
    scene = lone("star", "yellow", "blue")
    plain, looked = (compose(scene, 512, 512, random.Random(4), *with_look) for with_look in ((), (look,)))
    difference = render(plain, whole(plain, 8)) - render(looked, whole(looked, 8))
    assert difference.abs().mean() > 0.01
    assert render(looked, whole(looked, 8)).min() >= 0


def test_a_caption_names_what_is_drawn() -> None:
    rng = random.Random(7)
    for _ in range(300):
        scene = sample_scene(rng, 0.3)
        caption = caption_of(scene, rng)
        for thing in scene.things:
            assert any(word in caption.text for word in SHAPE_WORDS[thing.shape])
        assert caption.named <= attributes(scene).keys()
        assert ("background" in caption.text or "backdrop" in caption.text) == ("ground" in caption.named)


def test_idle_words_around_a_caption_leave_its_meaning() -> None:
    rng = random.Random(8)
    caption = caption_of(lone("heart", "pink", "white"), rng)
    around = wrapped(caption, rng, ("lorem", "ipsum"))
    assert caption.text in around.text
    assert around.named == caption.named


def test_the_same_seed_draws_the_same_scenes() -> None:
    assert [sample_scene(random.Random(9), 0.5) for _ in range(3)] == [
        sample_scene(random.Random(9), 0.5) for _ in range(3)
    ]


def test_things_grow_with_the_square_root_of_the_picture() -> None:
    scene = lone("circle", "red", "blue")
    small, large = (compose(scene, side, side, random.Random(0)).placed[0].radius for side in (512, 2048))
    assert large == pytest.approx(small / 2)
