import torch

from gesso.diffusion.update import advance

SHAPE = (4, 13, 7)  # odd on purpose: images do not begin at multiples of a vector register


def batch(images: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = [(images, 4, *SHAPE), (images, 4, *SHAPE), (images, 4), (images, 4), (images,), (images, *SHAPE)]
    return [torch.randn(shape, generator=generator) for shape in shapes]


def test_the_next_latent_is_the_weighted_sum_of_window_and_noise():
    latents, predictions, a, b, s, z = (part.double() for part in batch(3))
    expected = torch.einsum("nj,nj...->n...", a, latents) + torch.einsum("nj,nj...->n...", b, predictions)
    expected += torch.einsum("n,n...->n...", s, z)
    assert torch.allclose(advance(latents, predictions, a, b, s, z), expected)


def test_an_images_bits_do_not_depend_on_its_neighbours_or_its_place():
    crowd = batch(7)
    together = advance(*crowd)
    for place in range(7):
        alone = advance(*(part[place : place + 1] for part in crowd))
        assert torch.equal(together[place], alone[0])
    backwards = advance(*(part.flip(0) for part in crowd))
    assert torch.equal(backwards.flip(0), together)


def test_latents_stay_float32():
    assert advance(*batch(2)).dtype == torch.float32
