"""The world: every thing, ground, rendering and look is drawn as it is said, at any size."""

import random
from dataclasses import replace

import pytest
import torch

from gesso.mini.training.speech import speech
from gesso.mini.world.captions import attributes, caption_of, plural, wrapped
from gesso.mini.world.composition import Picture, Window, compose, whole
from gesso.mini.world.looks import LOOKS, PLAIN, Look
from gesso.mini.world.objects import OBJECTS
from gesso.mini.world.rendering import render
from gesso.mini.world.scenes import (
    COLOURS,
    GROUNDS,
    KINDS,
    NATURAL,
    RENDERINGS,
    Emphasis,
    Ground,
    Mixture,
    Scene,
    Thing,
    sample_scene,
)
from gesso.mini.world.vocabulary import COLOUR_WORDS, KIND_WORDS, STYLES

ANY = Mixture(plain=0.1)


def lone(kind: str, colour: str, ground: str, place: str = "centre", size: str = "medium") -> Scene:
    return Scene((Thing(kind, colour, size, place),), Ground("plain", ground, "black"))


def composed(scene: Scene, side: int = 512, look: Look = PLAIN, seed: int = 0) -> Picture:
    return compose(scene, side, side, random.Random(seed), look)


def shown(scene: Scene, look: Look = PLAIN, step: int = 8) -> torch.Tensor:
    picture = composed(scene, look=look)
    return render(picture, whole(picture, step))


@pytest.mark.parametrize(("width", "height"), [(512, 512), (896, 1152), (1152, 896), (2048, 512), (515, 701)])
def test_scenes_render_at_any_size_and_aspect(width: int, height: int) -> None:
    rng = random.Random(1)
    for _ in range(8):
        picture = compose(sample_scene(rng, ANY), width, height, rng)
        painted = render(picture, whole(picture, 8))
        assert painted.shape == (3, -(-height // 8), -(-width // 8))
        assert 0 <= painted.min() < painted.max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_every_thing_is_inside_at_about_unit_size_and_nowhere_far_out(kind: str) -> None:
    axis = torch.linspace(-2, 2, 201)
    parts = [part.distance(axis.view(1, -1), axis.view(-1, 1)) < 0 for part in OBJECTS[kind]]
    inside = torch.stack([part.expand(201, 201) for part in parts]).any(0)
    assert 0.9 < inside.float().mean().item() * 16 < 3.6
    assert not inside[:30].any()
    assert not inside[:, :30].any()
    assert not inside[-30:].any()
    assert not inside[:, -30:].any()


@pytest.mark.parametrize("kind", KINDS)
def test_every_thing_is_mostly_of_its_own_colour_whichever_that_is(kind: str) -> None:
    for colour in COLOURS:
        ground = "cyan" if colour != "cyan" else "red"
        painted = (shown(lone(kind, colour, ground, size="large"), step=4) * 255).flatten(1).T
        own, behind = (((painted - torch.tensor(COLOURS[name]).float()).abs() < 4).all(1) for name in (colour, ground))
        assert own.sum() > 0.4 * (~behind).sum()


def test_a_thing_is_painted_at_its_place_on_its_ground() -> None:
    picture = compose(lone("circle", "red", "blue", "top right"), 896, 1152, random.Random(0))
    painted = render(picture, whole(picture, 4))
    thing = picture.placed[0]
    assert thing.x > 0.2
    assert thing.y < -0.2
    column, row = int((thing.x + 1) / 2 * 224), int((thing.y + 1152 / 896) / 2 * 224)
    assert torch.allclose(painted[:, row, column] * 255, torch.tensor(COLOURS["red"]).float())
    assert torch.allclose(painted[:, -1, 0] * 255, torch.tensor(COLOURS["blue"]).float())


@pytest.mark.parametrize("rendering", RENDERINGS)
def test_a_window_shows_exactly_its_part_of_the_whole(rendering: str) -> None:
    scene = replace(sample_scene(random.Random(5), ANY), rendering=rendering, emphasis=None)
    picture = compose(scene, 512, 640, random.Random(6))
    part = render(picture, Window(64, 96, 128, 160))
    assert torch.allclose(part, render(picture, whole(picture))[:, 96:256, 64:192], atol=1e-4)


def test_things_stay_inside_the_picture() -> None:
    rng = random.Random(3)
    for _ in range(300):
        picture = compose(sample_scene(rng, ANY), 896, 1152, rng)
        half_width, half_height = picture.extent
        assert all(abs(p.x) + p.radius < half_width + 0.06 for p in picture.placed)
        assert all(abs(p.y) + p.radius < half_height + 0.06 for p in picture.placed)


def test_every_ground_rendering_and_look_is_another_picture() -> None:
    scene = lone("cat", "orange", "green")
    pictures = [shown(replace(scene, ground=Ground(pattern, "green", "purple"))) for pattern in GROUNDS]
    pictures += [shown(replace(scene, rendering=rendering)) for rendering in RENDERINGS[1:]]
    pictures += [shown(scene, look) for look in LOOKS.values()]
    for number, one in enumerate(pictures):
        assert all((one - other).abs().mean() > 0.01 for other in pictures[:number])


@pytest.mark.parametrize(("size", "grows"), [("large", True), ("small", False)])
def test_a_size_that_is_meant_more_strongly_is_more_extreme(size: str, grows: bool) -> None:
    scene = lone("star", "red", "white", size=size)
    weak, strong = (
        composed(replace(scene, emphasis=Emphasis("size", weight))).placed[0].radius for weight in (0.5, 1.5)
    )
    assert (strong > weak) == grows


def test_a_colour_that_is_meant_more_strongly_is_more_saturated() -> None:
    scene = lone("circle", "green", "white", size="large")
    weak, strong = (shown(replace(scene, emphasis=Emphasis("colour", weight)))[:, 32, 32] for weight in (0.5, 1.5))
    assert strong.max() - strong.min() > 1.5 * (weak.max() - weak.min())


def test_a_rendering_that_is_meant_less_strongly_is_nearer_to_flat() -> None:
    scene = replace(lone("circle", "green", "white"), rendering="neon")
    flat = shown(replace(scene, rendering="flat"))
    weak, usual = (shown(replace(scene, emphasis=Emphasis("rendering", weight))) for weight in (0.5, 1.0))
    assert torch.allclose((weak - flat).abs(), (usual - flat).abs() / 2, atol=1e-5)


def test_a_caption_names_what_is_drawn() -> None:
    rng = random.Random(7)
    for _ in range(500):
        scene = sample_scene(rng, ANY)
        caption = caption_of(scene, rng)
        assert caption.named <= attributes(scene).keys()
        if "kind" in caption.named:
            words = KIND_WORDS[scene.things[0].kind]
            assert any(word in caption.text or plural(word) in caption.text for word in words)
        if "colour" in caption.named:
            assert any(word in caption.text for word in COLOUR_WORDS[scene.things[0].colour])
        if "ground" in caption.named:
            assert any(word in caption.text for word in COLOUR_WORDS[scene.ground.first])


def test_what_is_left_unsaid_is_as_usual() -> None:
    rng = random.Random(9)
    unsaid = 0
    for _ in range(1500):
        scene = sample_scene(rng, ANY)
        caption = caption_of(scene, rng)
        if len(scene.things) == scene.count == 1 and scene.things[0].kind in NATURAL and "size" in caption.named:
            usual = NATURAL[scene.things[0].kind][1]
            if "pattern" not in caption.named:
                unsaid += scene.ground.pattern == usual
    assert unsaid > 30


@pytest.mark.parametrize(("first", "word"), [("left", "left of"), ("top", "above")])
def test_a_relation_is_told_from_either_side(first: str, word: str) -> None:
    second, other = {"left": ("right", "right of"), "top": ("bottom", "below")}[first]
    things = (Thing("heart", "red", "medium", first), Thing("star", "blue", "medium", second))
    told = [
        caption_of(Scene(things, Ground("plain", "white", "black")), random.Random(seed)).text for seed in range(80)
    ]
    forwards = [text for text in told if f"heart {word}" in text]
    backwards = [text for text in told if f"star {other}" in text]
    assert forwards
    assert backwards
    assert all(text.index("heart") < text.index("star") for text in forwards)
    assert all(text.index("star") < text.index("heart") for text in backwards)


def test_idle_words_around_a_caption_leave_its_meaning() -> None:
    rng = random.Random(8)
    caption = caption_of(lone("heart", "pink", "white"), rng)
    around = wrapped(caption, rng, ("lorem", "ipsum"))
    assert caption.text in around.text
    assert around.named == caption.named


def test_two_thirds_of_the_styles_ask_for_a_rendering_and_all_renderings_are_asked_for() -> None:
    assert len(STYLES) >= 66
    assert set(STYLES.values()) == set(RENDERINGS)
    assert set(speech().templates) == set(RENDERINGS)


def test_the_same_seed_draws_the_same_scenes() -> None:
    assert [sample_scene(random.Random(9), ANY) for _ in range(3)] == [
        sample_scene(random.Random(9), ANY) for _ in range(3)
    ]


def test_things_grow_with_the_square_root_of_the_picture() -> None:
    scene = lone("circle", "red", "blue")
    assert composed(scene, 2048).placed[0].radius == pytest.approx(composed(scene, 512).placed[0].radius / 2)
