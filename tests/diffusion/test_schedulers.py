import pytest

from gesso.diffusion.names import SERVED
from gesso.diffusion.schedulers import RECIPES, Diffusion, build_scheduler, configure
from gesso.errors import BadRequest

# Diffusers' schedulers hand numpy torch's tensors in ways that numpy 2 calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


def test_every_served_name_has_a_recipe_and_no_other_does():
    assert RECIPES.keys() == set(SERVED)


@pytest.mark.parametrize("name", SERVED)
def test_every_scheduler_is_on_the_noise_schedule_of_sdxl(name):
    config = build_scheduler(name, Diffusion("v_prediction")).config
    assert (config.beta_start, config.beta_end, config.beta_schedule) == (0.00085, 0.012, "scaled_linear")
    assert (config.num_train_timesteps, config.prediction_type) == (1000, "v_prediction")
    if name != "DPM Single":  # whose class knows no spacing but its own
        assert (config.timestep_spacing, config.steps_offset) == ("leading", 1)
    assert config.get("use_karras_sigmas", False) == (name.endswith("Karras") or name == "Restart")
    assert config.get("use_exponential_sigmas", False) == name.endswith("Exponential")


def test_each_asking_gets_a_scheduler_of_its_own():
    first, second = (build_scheduler("UniPC", Diffusion("epsilon")) for _ in range(2))
    first.set_timesteps(7)
    assert second.num_inference_steps is None


def test_an_option_that_a_class_does_not_know_is_an_error():
    with pytest.raises(ValueError, match="HeunDiscreteScheduler knows no rescale_betas_zero_snr"):
        configure("HeunDiscreteScheduler", rescale_betas_zero_snr=True)


def test_an_unknown_name_builds_nothing():
    with pytest.raises(BadRequest, match="there is no scheduler 'Euler b'"):
        build_scheduler("Euler b", Diffusion("epsilon"))
