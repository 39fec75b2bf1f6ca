"""What the documented service says of its five endpoints, written down by hand and not from the catalogue's files."""


def names(listed: str) -> list[str]:
    return listed.split("|")


TEXT_SCHEDULERS = names("DDIM|DPM Multi|DPM Single|Euler a|Euler|Heun|DPM2 a Karras|DPM2 Karras|LMS|PNDM|DDPM|UniPC")

IMAGE_SCHEDULERS = names(
    "UniPC|DPM++ SDE Karras|DPM++ 2M Karras|DPM++ 2M SDE Karras|DPM++ 2M SDE Heun Karras|DPM++ 3M SDE Karras"
    "|LMS Karras|DPM2 Karras|DPM2 a Karras|DPM++ 2S a Karras|DPM++ 2M SDE Exponential"
    "|DPM++ 2M SDE Heun Exponential|DPM++ 3M SDE Exponential|Euler a|Euler|LMS|Heun|DPM2|DPM2 a|DPM++ 2S a"
    "|DPM++ 2M|DPM++ SDE|DPM++ 2M SDE|DPM++ 2M SDE Heun|DPM++ 3M SDE|DPM fast|Restart|DDIM|PLMS"
)

STYLES = names(
    "base|3d-model|analog film|anime|cinematic|comic book|craft clay|digital art|enhance|fantasy art|isometric"
    "|line art|lowpoly|neonpunk|origami|photographic|pixel art|texture|advertising|automotive|corporate"
    "|fashion editorial|food photography|luxury|real estate|retail|abstract|abstract expressionism|art deco"
    "|art nouveau|constructivist|cubist|expressionist|graffiti|hyperrealism|impressionist|pointillism|pop art"
    "|psychedelic|renaissance|steampunk|surrealist|typography|watercolor|biomechanical|biomechanical cyberpunk"
    "|cybernetic|cybernetic robot|cyberpunk cityscape|futuristic|retro cyberpunk|retro futurism|sci-fi|vaporwave"
    "|bubble bobble|cyberpunk game|fighting game|gta|mario|minecraft|pokemon|retro arcade|retro game"
    "|rpg fantasy game|strategy game|streetfighter|zelda|architectural|disco|dreamscape|dystopian|fairy tale"
    "|gothic|grunge|horror|kawaii|lovecraftian|macabre|manga|metropolis|minimalist|monochrome|nautical|space"
    "|stained glass|techwear fashion|tribal|zentangle|collage|flat papercut|kirigami|paper mache|paper quilling"
    "|papercut collage|papercut shadow box|stacked papercut|thick layered papercut|alien|film noir|hdr"
    "|long exposure|neon noir|silhouette|tilt-shift"
)

BASE_MODELS = ["juggernaut", "realvis", "protovision", "yamers_realistic"]

REQUIRED = object()
LAST_SEED = 999999999999999

SHARED = {
    "prompt": REQUIRED,
    "negative_prompt": "",
    "samples": 1,
    "scheduler": "UniPC",
    "num_inference_steps": 30,
    "guidance_scale": 7.5,
    "seed": -1,
    "base64": False,
}
SIZED = SHARED | {"img_width": 1024, "img_height": 1024}

DEFAULTS = {
    "sdxl1.0-txt2img": SIZED
    | {"num_inference_steps": 25, "style": "base", "refiner": True, "high_noise_fraction": 0.8, "strength": 0.2},
    "sdxl1.0-timeless": SIZED | {"scheduler": "DPM2 Karras", "guidance_scale": 7},
    "sdxl1.0-dreamshaper": SIZED,
    "sdxl1.0-realvis": SIZED | {"scheduler": "DPM2 Karras", "num_inference_steps": 25},
    "sdxl-img2img": SHARED | {"image": REQUIRED, "base_model": "juggernaut", "guidance_scale": 6.5, "strength": 0.65},
}
ADDED: dict[str, tuple[object, ...]] = {"loras": ()}
"""What these endpoints take beyond the documentation, all of it optional."""

TEXT_SLUGS = [slug for slug in DEFAULTS if slug != "sdxl-img2img"]

RANGES = {
    "samples": (1, 4),
    "num_inference_steps": (20, 100),
    "guidance_scale": (1, 25),
    "seed": (-1, LAST_SEED),
    "img_width": (512, 2048),
    "img_height": (512, 2048),
    "high_noise_fraction": (0, 1),
    "strength": (0.1, 1),
}

DESCRIPTIONS = {
    "image": "Input Image.",
    "prompt": "Prompt to render",
    "base_model": "base model for image generation",
    "base64": "Base64 encoding of the output image.",
    "guidance_scale": "Scale for classifier-free guidance",
    "high_noise_fraction": "Number of inference steps to be run on each expert",
    "img_height": "Image height can be between 512 and 2048 in multiples of 8",
    "img_width": "Image width can be between 512 and 2048 in multiples of 8",
    "negative_prompt": "Prompts to exclude, eg. 'bad anatomy, bad hands, missing fingers'",
    "num_inference_steps": "Number of denoising steps.",
    "refiner": ("If yes, improves the quality of the output. Note: Does not work when high noise fraction is 1."),
    "samples": "Number of samples to generate.",
    "scheduler": "Type of scheduler.",
    "seed": "Seed for image generation.",
    "strength": "How much to transform the reference image",
    "style": "Styles for Stable Diffusion.",
}
