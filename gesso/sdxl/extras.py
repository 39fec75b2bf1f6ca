"""What files in the wild carry beside weights, and no network needs: by name, so that nothing else passes unseen."""

V_PREDICTION_MARKER = "v_pred"
ZERO_TERMINAL_SNR_MARKER = "ztsnr"
"""Tensors of no network by which the community's files say how they were trained."""

ENDINGS = (".position_ids", ".logit_scale", ".attn_mask", "embedders.0.transformer.text_projection.weight")
"""Inside a part: buffers of other implementations, and what only a training needs."""

BEGINNINGS = ("model_ema.", "denoiser.", "first_stage_model.loss.", "loss_fn.")
"""A trainer's leavings: a second, averaged copy of the weights, tables of sigmas, what judged the VAE."""

NAMES = {
    V_PREDICTION_MARKER,
    ZERO_TERMINAL_SNR_MARKER,
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "betas",
    "global_step",
    "log_one_minus_alphas_cumprod",
    "logvar",
    "lvlb_weights",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
    "posterior_variance",
    "scale_factor",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
}
"""Markers, and tables of the noise schedule that all of SDXL shares."""


def is_extra(name: str) -> bool:
    """Whether a tensor of this name may be passed over."""
    return name in NAMES or name.startswith(BEGINNINGS) or name.endswith(ENDINGS)
