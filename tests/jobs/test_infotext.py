from dataclasses import replace

from gesso.engine.messages import CheckpointFiles, Pixels, Refinement, StartImage
from gesso.jobs.infotext import infotext
from tests.jobs.orders import an_order

REFINER = CheckpointFiles("refiner", "refiner.safetensors")


def test_a_text_to_image_picture_tells_how_it_was_made() -> None:
    assert infotext(an_order("one", samples=2), seed=8) == (
        "a house\n"
        "Negative prompt: fog\n"
        "Steps: 20, Sampler: UniPC, CFG scale: 7.5, Seed: 8, Size: 16x8, Model: model, Version: gesso"
    )


def test_without_a_negative_prompt_there_is_no_line_for_it() -> None:
    order = replace(an_order("one"), negative_prompt="")
    assert infotext(order, seed=7).splitlines()[1].startswith("Steps: 20")


def test_image_to_image_tells_its_strength() -> None:
    order = an_order("one")
    start = StartImage(Pixels(16, 8, bytes(16 * 8 * 3)), 0.65)
    assert ", Denoising strength: 0.65," in infotext(replace(order, paint=replace(order.paint, start=start)), seed=7)


def test_a_refiner_is_told_with_where_it_takes_over() -> None:
    order = an_order("one")
    ensemble = replace(order.paint, refinement=Refinement(REFINER, 0.8, 0.2))
    redrawn = replace(order.paint, refinement=Refinement(REFINER, 0, 0.2))
    assert ", Refiner: refiner, Refiner switch at: 0.8, Version" in infotext(replace(order, paint=ensemble), seed=7)
    assert ", Refiner switch at: 0, Refiner strength: 0.2, Version" in infotext(replace(order, paint=redrawn), seed=7)


def test_what_is_written_depends_on_the_request_alone() -> None:
    assert infotext(an_order("one"), seed=7) == infotext(an_order("another"), seed=7)


def test_large_seeds_and_odd_names_stay_readable() -> None:
    order = an_order("one")
    odd = replace(order.paint, checkpoint=CheckpointFiles("mine: best, yet", "x.safetensors"), guidance_scale=8)
    text = infotext(replace(order, paint=odd), seed=98877465625)
    assert ", CFG scale: 8, Seed: 98877465625," in text
    assert ', Model: "mine: best, yet",' in text
