"""True renderings are read right: what is measured of painted pictures is worth as much as this."""

import random
from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor

from gesso.mini.judging import manners
from gesso.mini.judging.clarity import noise, sharpness
from gesso.mini.judging.examination import Asked
from gesso.mini.judging.manners import Hand, lone_picture, shown
from gesso.mini.judging.prompts import lone_scenes, related
from gesso.mini.judging.questions import singles
from gesso.mini.judging.things import NOTHING, look_at, look_at_two, number_of_things
from gesso.mini.judging.worsening import worsened
from gesso.mini.world.composition import compose, whole
from gesso.mini.world.looks import LOOKS, PLAIN
from gesso.mini.world.rendering import render
from gesso.mini.world.scenes import COLOURS, KINDS, RENDERINGS, Ground, Scene, Thing

SIZES = ((512, 512), (896, 1152), (1152, 896), (2048, 512))


def rendered(scene: Scene, size: tuple[int, int] = (512, 512), seed: int = 0) -> Tensor:
    picture = compose(scene, *size, random.Random(seed))
    return render(picture, whole(picture, min(size) // 128))


def lone(kind: str, colour: str, ground: str, size: str = "medium") -> Scene:
    return Scene((Thing(kind, colour, size, "centre"),), Ground("plain", ground, ground))


@pytest.mark.parametrize("size", SIZES)
def test_a_thing_on_a_plain_ground_is_read_right_in_every_respect(size: tuple[int, int]) -> None:
    for seed, scene in enumerate(lone_scenes(30, random.Random(size[0]))):
        seen, thing = look_at(rendered(scene, size, seed)), scene.things[0]
        wanted = (thing.kind, thing.colour, scene.ground.first, thing.place)
        assert (seen.kind, seen.colour, seen.ground, seen.place) == wanted


@pytest.mark.parametrize("ground", ["white", "black", "brown", "yellow"])
def test_what_the_ground_swallows_of_a_thing_does_not_hide_its_kind(ground: str) -> None:
    for kind in KINDS:
        seen = look_at(rendered(lone(kind, "red", ground)))
        assert (seen.kind, seen.colour) == (kind, "red")


@pytest.mark.parametrize("size", ["small", "medium", "large"])
def test_a_things_radius_and_centre_are_its_own_and_not_its_boxs(size: str) -> None:
    for kind in ("moon", "sun", "mushroom", "star"):
        scene = lone(kind, "blue", "white", size)
        (placed,) = compose(scene, 512, 512, random.Random(0)).placed
        seen = look_at(rendered(scene))
        assert (seen.x, seen.y) == (pytest.approx(placed.x, abs=0.05), pytest.approx(placed.y, abs=0.05))
        assert seen.radius == pytest.approx(placed.radius, rel=0.12)


def test_a_larger_thing_has_a_larger_area_and_a_paler_one_a_paler_colour() -> None:
    small, large = (look_at(rendered(lone("heart", "red", "white", size))) for size in ("small", "large"))
    assert large.area > 4 * small.area
    assert small.rgb == pytest.approx([part / 255 for part in COLOURS["red"]], abs=0.01)
    assert look_at(rendered(lone("heart", "red", "white")).lerp(torch.tensor(0.5), 0.3)).rgb[0] < small.rgb[0]


def test_most_worsened_pictures_are_read_right_too() -> None:
    rng = random.Random(1)
    right = 0
    for seed, scene in enumerate(lone_scenes(60, rng)):
        seen, thing = look_at(worsened(rendered(scene, seed=seed), rng)), scene.things[0]
        right += (seen.kind, seen.colour) == (thing.kind, thing.colour)
    assert right >= 57


def test_a_streak_is_nothing_and_so_is_an_empty_picture() -> None:
    streak = torch.zeros(3, 64, 64)
    streak[:, 30:34, 4:60] = 1
    assert look_at(streak).kind == NOTHING
    assert look_at(torch.full((3, 64, 64), 0.5)).kind == NOTHING


def test_specks_of_noise_do_not_belong_to_a_thing() -> None:
    picture = rendered(lone("triangle", "green", "white"))
    clean = look_at(picture)
    picture[:, 3::20, 5::20] = 0
    seen = look_at(picture)
    assert (seen.kind, seen.colour, seen.ground) == ("triangle", "green", "white")
    assert seen.area == pytest.approx(clean.area, rel=0.05)


def test_two_things_are_read_right_with_their_relation() -> None:
    rng = random.Random(2)
    right = 0
    for seed in range(60):
        colours, kinds = rng.sample(tuple(COLOURS), 3), rng.sample(KINDS, 2)
        places = rng.choice((("left", "right"), ("top", "bottom")))
        things = [Thing(kinds[one], colours[one], "medium", places[one]) for one in (0, 1)]
        scene = Scene((things[0], things[1]), Ground("plain", colours[2], colours[2]))
        first, second = look_at_two(rendered(scene, SIZES[seed % 3], seed))
        gap = second.x - first.x if places[0] == "left" else second.y - first.y
        seen = [(first.kind, first.colour), (second.kind, second.colour)]
        right += gap > 0.2 and seen == [(thing.kind, thing.colour) for thing in things]
    assert right >= 59


def test_two_things_that_touch_nearly_are_two() -> None:
    things = (Thing("sun", "yellow", "medium", "left"), Thing("boat", "red", "medium", "right"))
    first, second = look_at_two(rendered(Scene(things, Ground("plain", "white", "white"))))
    assert (first.kind, second.kind) == ("sun", "boat")


@pytest.mark.parametrize("count", [2, 3, 4])
def test_things_of_a_kind_are_counted(count: int) -> None:
    for kind in ("circle", "diamond", "fish", "moon"):
        scene = Scene((Thing(kind, "purple", "medium", "centre"),), Ground("plain", "yellow", "red"), count=count)
        assert number_of_things(rendered(scene)) == count


def share_right(hand: Hand, drawn: Sequence[tuple[str, Tensor]]) -> float:
    numbers = hand.scores([picture for _, picture in drawn]).argmax(1).tolist()
    return sum(hand.discriminant.names[number] == name for number, (name, _) in zip(numbers, drawn, strict=True)) / len(
        drawn
    )


def test_renderings_are_told_apart() -> None:
    rng = random.Random(3)
    drawn = [(name, shown(lone_picture(name, PLAIN, rng))) for _ in range(10) for name in RENDERINGS]
    assert share_right(manners.renderings(), drawn) >= 0.97
    assert share_right(manners.renderings(), [(name, worsened(one, rng)) for name, one in drawn]) >= 0.85


def test_looks_are_told_apart() -> None:
    rng = random.Random(4)
    drawn = [(name, shown(lone_picture("flat", look, rng))) for _ in range(40) for name, look in LOOKS.items()]
    assert share_right(manners.looks(), drawn) >= 0.95
    assert share_right(manners.looks(), [(name, worsened(one, rng)) for name, one in drawn]) >= 0.85


def test_a_rendering_that_is_mixed_with_the_flat_one_has_less_of_a_lead_over_it() -> None:
    rng = random.Random(5)
    for name in RENDERINGS[1:]:
        chance = rng.random()
        flat, entire = (shown(lone_picture(one, PLAIN, random.Random(chance))) for one in ("flat", name))
        leads = [manners.renderings().lead(flat.lerp(entire, share), name, "flat") for share in (0, 0.5, 1)]
        assert leads[0] < leads[2]
        assert leads[1] < leads[2]


def test_a_full_size_picture_is_read_as_its_averages_are() -> None:
    picture = lone_picture("comic", PLAIN, random.Random(6))
    assert manners.renderings().name(render(picture, whole(picture))) == "comic"


def test_blur_is_less_sharp_and_noise_is_noise() -> None:
    picture = compose(lone("star", "red", "white"), 512, 512, random.Random(0))
    crisp = render(picture, whole(picture))
    blurred = torch.nn.functional.avg_pool2d(crisp, 5, stride=1, padding=2, count_include_pad=False)
    assert sharpness(blurred) < 0.7 * sharpness(crisp)
    noisy = crisp + 0.02 * torch.randn(crisp.shape, generator=torch.Generator().manual_seed(0))
    assert 3 * noise(crisp) < 0.03 < noise(noisy)


def test_an_examination_finds_right_what_was_painted_as_asked_and_wrong_what_was_not() -> None:
    scenes = lone_scenes(10, random.Random(1))

    def true(requests: Sequence[Asked]) -> Iterator[Tensor]:
        assert [str(request.body["prompt"]).split()[1] for request in requests] == [
            scene.things[0].colour for scene in scenes
        ]
        return (rendered(scene) for scene in scenes)

    assert {row.name: row.share for row in singles(true, 10, "all")} == {
        "colour, all": 1,
        "kind, all": 1,
        "ground, all": 1,
        "place, all": 1,
    }
    rows = singles(lambda requests: (torch.zeros(3, 64, 64) for _ in requests), 10, "none")
    assert not any(row.share for row in rows if row.name.startswith("kind"))
    assert [row.met for row in rows] == [False, False, None, None]


def test_a_pairs_prompt_says_which_is_where() -> None:
    things = (Thing("heart", "red", "medium", "centre"), Thing("fish", "blue", "medium", "centre"))
    assert related("top", Scene(things, Ground("plain", "orange", "orange"))) == (
        "a red heart above a blue fish on an orange background"
    )
