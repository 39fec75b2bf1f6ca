import pytest
import torch

from gesso.diffusion.guidance import combine, is_guided

CONDITIONAL = torch.tensor([[1.0, -2.0], [0.5, 4.0]])
UNCONDITIONAL = torch.tensor([[3.0, 1.0], [-0.5, 4.0]])


@pytest.mark.parametrize(("scale", "guided"), [(0.1, False), (1.0, False), (1.01, True), (7.5, True)])
def test_guidance_begins_above_one(scale, guided):
    assert is_guided(scale) is guided


def test_the_scale_goes_beyond_the_conditional_prediction():
    assert torch.equal(combine(CONDITIONAL, UNCONDITIONAL, 2.0), torch.tensor([[-1.0, -5.0], [1.5, 4.0]]))


def test_each_image_may_have_a_scale_of_its_own():
    scales = torch.tensor([[2.0], [7.5]])
    together = combine(CONDITIONAL, UNCONDITIONAL, scales)
    assert torch.equal(together[0], combine(CONDITIONAL[0], UNCONDITIONAL[0], 2.0))
    assert torch.equal(together[1], combine(CONDITIONAL[1], UNCONDITIONAL[1], 7.5))
