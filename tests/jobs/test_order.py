from pathlib import Path

import pytest

from gesso.catalogue.catalogue import Catalogue, load_catalogue
from gesso.catalogue.validation import read_request
from gesso.engine.messages import Pixels, Refinement
from gesso.errors import BadRequest
from gesso.jobs.order import HIGHEST_DRAWN_SEED, Order, resolve
from gesso.prompt.understanding import understand

TEXT, IMAGE = "sdxl1.0-txt2img", "sdxl-img2img"
MODELS = Path("/models")
START = Pixels(512, 768, bytes(512 * 768 * 3))


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


def ordered(catalogue: Catalogue, slug: str, body: dict[str, object], start_image: Pixels | None = None) -> Order:
    valid = read_request(catalogue.endpoint(slug), {"prompt": "a house", **body})
    return resolve(valid, "an id", catalogue, models_dir=MODELS, start_image=start_image)


def painted_from(catalogue: Catalogue, **body: object) -> Order:
    return ordered(catalogue, IMAGE, {"image": "data:,", **body}, START)


def test_a_request_means_what_it_says(catalogue: Catalogue) -> None:
    body = {"seed": 468685, "img_width": 896, "img_height": 1152, "scheduler": "Euler a", "guidance_scale": 8}
    order = ordered(catalogue, TEXT, body | {"num_inference_steps": 40})
    paint = order.paint
    assert (order.id, order.slug, paint.id) == ("an id", TEXT, "an id")
    assert (paint.scheduler, paint.steps, paint.guidance_scale) == ("Euler a", 40, 8)
    assert (paint.width, paint.height, paint.seeds, paint.start) == (896, 1152, (468685,), None)


def test_an_order_says_whose_it_is(catalogue: Catalogue) -> None:
    valid = read_request(catalogue.endpoint(TEXT), {"prompt": "a house"})
    paint = resolve(valid, "an id", catalogue, models_dir=MODELS, account_id=7, share=3).paint
    assert (paint.account, paint.share) == (7, 3)
    assert resolve(valid, "an id", catalogue, models_dir=MODELS).paint.account == 0


def test_the_price_is_for_every_image(catalogue: Catalogue) -> None:
    price = catalogue.endpoint(TEXT).price.microcredits
    assert price > 0
    assert ordered(catalogue, TEXT, {"samples": 3}).cost_micro == 3 * price


def test_an_image_costs_by_its_size_and_the_steps_that_were_asked_for(catalogue: Catalogue) -> None:
    price = catalogue.endpoint(TEXT).price
    body = {"img_width": 520, "img_height": 1000, "num_inference_steps": 37}
    for refinement in ({"high_noise_fraction": 0, "strength": 1}, {"refiner": False}):
        assert ordered(catalogue, TEXT, body | refinement).cost_micro == price.of(37, 520 * 1000)
    start = catalogue.endpoint(IMAGE).price.of(30, START.width * START.height)
    assert painted_from(catalogue, strength=0.1).cost_micro == painted_from(catalogue).cost_micro == start


def test_sample_i_uses_seed_plus_i(catalogue: Catalogue) -> None:
    assert ordered(catalogue, TEXT, {"samples": 4, "seed": 98877465625}).paint.seeds == tuple(
        range(98877465625, 98877465629)
    )
    assert ordered(catalogue, TEXT, {"samples": 2, "seed": 999999999999999}).paint.seeds[1] == 10**15


def test_a_seed_is_drawn_where_none_is_given_and_written_down(catalogue: Catalogue) -> None:
    orders = [ordered(catalogue, TEXT, {"seed": -1, "samples": 4}) for _ in range(50)]
    assert all(0 <= order.paint.seeds[0] <= HIGHEST_DRAWN_SEED == 999999999999995 for order in orders)
    assert len({order.paint.seeds[0] for order in orders}) == 50
    assert all(order.request["seed"] == order.paint.seeds[0] for order in orders)


def test_prompts_are_understood_over_the_steps_of_the_run(catalogue: Catalogue) -> None:
    order = ordered(catalogue, TEXT, {"prompt": "[a:b:0.5] (c:1.3)", "negative_prompt": "d", "num_inference_steps": 40})
    assert order.paint.prompt == understand("[a:b:0.5] (c:1.3)", 40).schedule
    assert order.paint.negative_prompt == understand("d", 40).schedule


def test_image_to_image_counts_the_steps_that_are_run(catalogue: Catalogue) -> None:
    order = painted_from(catalogue, prompt="[a:b:0.5]", strength=0.65, num_inference_steps=30)
    assert order.paint.prompt == understand("[a:b:0.5]", 19).schedule
    assert order.paint.steps == 30


def test_a_refiner_that_redraws_adds_its_steps(catalogue: Catalogue) -> None:
    body = {"prompt": "[a:b:0.5]", "num_inference_steps": 20, "high_noise_fraction": 0, "strength": 0.5}
    assert ordered(catalogue, TEXT, body).paint.prompt == understand("[a:b:0.5]", 30).schedule


def test_the_start_image_gives_the_size_and_is_not_written_down(catalogue: Catalogue) -> None:
    order = painted_from(catalogue, strength=0.4)
    assert order.paint.start is not None
    assert (order.paint.start.pixels, order.paint.start.strength) == (START, 0.4)
    assert (order.paint.width, order.paint.height) == (512, 768)
    assert "image" not in order.request


def test_a_style_comes_around_both_prompts(catalogue: Catalogue) -> None:
    order = ordered(catalogue, TEXT, {"style": "anime", "negative_prompt": "fog"})
    style = catalogue.styles["anime"]
    assert (order.prompt, order.negative_prompt) == style.apply("a house", "fog")
    assert order.prompt != "a house"
    assert order.paint.prompt == understand(order.prompt, 25).schedule


def test_the_style_base_changes_nothing(catalogue: Catalogue) -> None:
    order = ordered(catalogue, TEXT, {"style": "base", "negative_prompt": "fog"})
    assert (order.prompt, order.negative_prompt) == ("a house", "fog")


@pytest.mark.parametrize(("fraction", "strength"), [(0.8, 0.2), (0, 0.3)])
def test_a_refiner_takes_its_part(catalogue: Catalogue, fraction: float, strength: float) -> None:
    order = ordered(catalogue, TEXT, {"high_noise_fraction": fraction, "strength": strength})
    refinement = order.paint.refinement
    assert isinstance(refinement, Refinement)
    assert refinement.checkpoint.id == catalogue.endpoint(TEXT).checkpoints["refiner"]
    assert (refinement.high_noise_fraction, refinement.strength) == (fraction, strength)


@pytest.mark.parametrize("body", [{"refiner": False}, {"high_noise_fraction": 1}, {"refiner": "no"}])
def test_no_refiner_where_it_is_not_wanted_or_has_nothing_left(catalogue: Catalogue, body: dict[str, object]) -> None:
    assert ordered(catalogue, TEXT, body).paint.refinement is None


def test_endpoints_without_a_refiner_have_none(catalogue: Catalogue) -> None:
    assert ordered(catalogue, "sdxl1.0-realvis", {}).paint.refinement is None


def test_the_checkpoint_is_the_one_that_is_bound(catalogue: Catalogue) -> None:
    endpoint = catalogue.endpoint(IMAGE)
    files = painted_from(catalogue, base_model="realvis").paint.checkpoint
    entry = catalogue.checkpoints[endpoint.checkpoints["realvis"]]
    assert (files.id, files.unet) == (entry.id, str(entry.path(MODELS)))
    for lent, lender in ((files.text_encoders, entry.text_encoders), (files.vae, entry.vae)):
        assert lent == (None if lender is None else str(catalogue.checkpoints[lender].path(MODELS)))


def test_everything_that_cannot_be_painted_is_told_at_once(catalogue: Catalogue) -> None:
    nothing = f"(a:1{'0' * 400})"
    with pytest.raises(BadRequest) as refused:
        painted_from(catalogue, prompt=nothing, negative_prompt=nothing)
    assert [problem.parameter for problem in refused.value.problems] == ["prompt", "negative_prompt"]


def test_a_weight_that_means_nothing_is_refused_with_its_parameter(catalogue: Catalogue) -> None:
    with pytest.raises(BadRequest, match="negative_prompt"):
        ordered(catalogue, TEXT, {"negative_prompt": f"(a:1{'0' * 400})"})


def test_a_prompt_may_be_as_long_as_it_is_allowed_in_any_style(catalogue: Catalogue) -> None:
    order = ordered(catalogue, TEXT, {"prompt": "a " * 10_000, "style": "anime"})
    assert len(order.prompt) > 20_000
