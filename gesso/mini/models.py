"""The family in miniature: the configurations of its text encoders, UNets and autoencoder.

In form they are SDXL's: two CLIP text models of different widths, a UNet with text and size conditioning, a KL
autoencoder. Its factor is 32 and it has 24 latent channels, so that a picture costs little on a CPU.
"""

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

FACTOR = 32
LATENT_CHANNELS = 24
WIDTHS = (16, 64)
TIME_WIDTH = 6
END_OF_TEXT = 49407


def _text_config(width: int, activation: str) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        intermediate_size=width * 4,
        num_hidden_layers=4,
        num_attention_heads=max(1, width // 32),
        max_position_embeddings=77,
        hidden_act=activation,
        projection_dim=width,
        bos_token_id=49406,
        eos_token_id=END_OF_TEXT,
        pad_token_id=1,
    )


def text_encoder() -> CLIPTextModel:
    return CLIPTextModel(_text_config(WIDTHS[0], "quick_gelu"))


def text_encoder_2() -> CLIPTextModelWithProjection:
    return CLIPTextModelWithProjection(_text_config(WIDTHS[1], "gelu"))


def _unet(widths: tuple[int, int, int], context: int, added: int) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=FACTOR,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=widths,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=[width // 32 for width in widths],
        transformer_layers_per_block=[1, 1, 1],
        use_linear_projection=True,
        cross_attention_dim=context,
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME_WIDTH,
        projection_class_embeddings_input_dim=WIDTHS[1] + added * TIME_WIDTH,
        norm_num_groups=8,
    )


def base_unet() -> UNet2DConditionModel:
    """Reads both encoders and six numbers: original size, crop, target size."""
    return _unet((64, 96, 64), sum(WIDTHS), 6)


def refiner_unet() -> UNet2DConditionModel:
    """Reads the second encoder and five numbers: original size, crop, aesthetic score."""
    return _unet((64, 96, 64), WIDTHS[1], 5)


def refiner_from(base: UNet2DConditionModel) -> UNet2DConditionModel:
    """A refiner that begins as the base, as far as it is told the same: the first encoder's columns fall away, and what
    the target size said falls to the original size, which it equals."""
    refiner = refiner_unet()
    wanted, weights = refiner.state_dict(), base.state_dict()
    for name, weight in weights.items():
        if "attn2.to_k" in name or "attn2.to_v" in name:
            weights[name] = weight[:, WIDTHS[0] :]
        elif weight.shape != wanted[name].shape:
            pooled, sizes = weight[:, : WIDTHS[1]], weight[:, WIDTHS[1] :].unflatten(1, (6, TIME_WIDTH))
            told = [sizes[:, 0] + sizes[:, 4], sizes[:, 1] + sizes[:, 5], sizes[:, 2], sizes[:, 3]]
            weights[name] = torch.cat([pooled, *told, torch.zeros_like(sizes[:, 0])], dim=1)
    refiner.load_state_dict(weights)
    return refiner


def autoencoder() -> AutoencoderKL:
    """Six levels, hence the factor 32. One group: normalisation must not tell channels apart."""
    widths = (12, 16, 32, 40, 56, 56)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        block_out_channels=widths,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=1,
        sample_size=1024,
        scaling_factor=1.0,
        force_upcast=False,
    )
