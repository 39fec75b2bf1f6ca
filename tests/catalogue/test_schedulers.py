"""Schedulers have other names; each means one thing at an endpoint, or is an error there."""

import pytest

from gesso.catalogue.catalogue import Catalogue
from gesso.errors import BadRequest
from tests.catalogue.conftest import Ask
from tests.catalogue.contract import DEFAULTS, IMAGE_SCHEDULERS, TEXT_SCHEDULERS

TEXT = "sdxl1.0-txt2img"
IMAGE = "sdxl-img2img"

ALIASES = [
    (TEXT, "euler_ancestral", "Euler a"),
    (IMAGE, "euler_ancestral", "Euler a"),
    (TEXT, "k_euler", "Euler"),
    (TEXT, "k_euler_a", "Euler a"),
    (TEXT, "Euler A", "Euler a"),
    (TEXT, "UniPCMultistepScheduler", "UniPC"),
    (TEXT, "uni_pc", "UniPC"),
    (TEXT, "ddim", "DDIM"),
    (TEXT, "DPM++ 2M", "DPM Multi"),
    (TEXT, "dpmpp_2m", "DPM Multi"),
    (TEXT, "DPMSolverMultistepScheduler", "DPM Multi"),
    (TEXT, "PLMS", "PNDM"),
    (IMAGE, "PNDM", "PLMS"),
    (IMAGE, "DPM Multi", "DPM++ 2M"),
    (IMAGE, "dpmpp_2m", "DPM++ 2M"),
    (IMAGE, "dpmpp_2m_karras", "DPM++ 2M Karras"),
    (IMAGE, "dpmpp_3m_sde_exponential", "DPM++ 3M SDE Exponential"),
    (IMAGE, "k_dpm_2_a_ka", "DPM2 a Karras"),
    (IMAGE, "dpmpp_2s_ancestral", "DPM++ 2S a"),
]

NOT_LISTED = [
    (TEXT, "dpmpp_2m_karras"),
    (TEXT, "dpmpp_sde"),
    (TEXT, "dpm_2"),
    (TEXT, "Restart"),
    (IMAGE, "DDPM"),
    (IMAGE, "DPM Single"),
    (IMAGE, "DPMSolverSinglestepScheduler"),
    (IMAGE, "dpm_adaptive"),
]


@pytest.mark.parametrize(("slug", "alias", "name"), ALIASES)
def test_an_alias_means_the_scheduler_that_the_endpoint_lists(ask: Ask, slug: str, alias: str, name: str) -> None:
    assert ask(slug, scheduler=alias).text("scheduler") == name


@pytest.mark.parametrize(("slug", "alias"), NOT_LISTED)
def test_a_scheduler_that_the_endpoint_does_not_list_is_refused_with_the_list(ask: Ask, slug: str, alias: str) -> None:
    listed = TEXT_SCHEDULERS if slug == TEXT else IMAGE_SCHEDULERS
    with pytest.raises(BadRequest) as refused:
        ask(slug, scheduler=alias)
    assert refused.value.sentence.endswith(f"allowed is one of {', '.join(listed)}")


@pytest.mark.parametrize("slug", DEFAULTS)
def test_a_listed_name_means_itself(ask: Ask, slug: str) -> None:
    for name in TEXT_SCHEDULERS if slug != IMAGE else IMAGE_SCHEDULERS:
        assert ask(slug, scheduler=name).text("scheduler") == name


@pytest.mark.parametrize("slug", DEFAULTS)
def test_every_alias_leads_to_a_listed_name(catalogue: Catalogue, slug: str) -> None:
    scheduler = catalogue.endpoint(slug).parameters["scheduler"]
    assert set(scheduler.aliases.values()) <= set(scheduler.choices)
    assert not set(scheduler.aliases) & set(scheduler.choices)
