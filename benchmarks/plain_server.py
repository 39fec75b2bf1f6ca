"""The peer: FastAPI around diffusers, as one writes it oneself to serve the five endpoints.

One process with a pipeline for every checkpoint of the catalogue, img2img beside it over the same networks, and the
refiner. One thread paints, a request after the other as they came: pipelines cannot be shared between threads. It is
made no slower than it has to be: inference mode, channels last, no progress bars, the VAE in the networks' precision,
start images read and PNGs written (by Pillow, as it does by default) beside the next request's painting. Nothing is
compiled.

Told is the address, once all pipelines are there. How many threads torch takes, OMP_NUM_THREADS says.
"""

import argparse
import asyncio
import base64
import io
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import uvicorn
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
from fastapi import FastAPI, Response
from PIL import Image
from pydantic import BaseModel

from benchmarks.lone_pipeline import Work, build_from_image, build_pipeline, build_refiner, diffusion_of
from gesso.catalogue.catalogue import Catalogue, load_catalogue
from gesso.diffusion.schedulers import Diffusion, build_scheduler
from gesso.engine.models import choose_device


class Wish(BaseModel):
    """A request's body: what the five endpoints have in common, and what one or the other has beside it."""

    prompt: str
    negative_prompt: str = ""
    seed: int
    scheduler: str = "UniPC"
    num_inference_steps: int = 25
    guidance_scale: float = 7.5
    img_width: int = 1024
    img_height: int = 1024
    refiner: bool = True
    high_noise_fraction: float = 0.8
    image: str | None = None
    strength: float = 0.65
    base_model: str = "base"

    def said(self) -> dict[str, Any]:
        """What every pipeline is told."""
        return {
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt,
            "num_inference_steps": self.num_inference_steps,
            "guidance_scale": self.guidance_scale,
            "generator": torch.Generator("cpu").manual_seed(self.seed),
        }


@dataclass(frozen=True, slots=True)
class Painter:
    """A checkpoint's pipelines: from words alone, and from a start image."""

    from_words: StableDiffusionXLPipeline
    from_image: StableDiffusionXLImg2ImgPipeline
    diffusion: Diffusion


class Studio:
    """Every checkpoint that is bound to an endpoint, and every refiner, in bfloat16 on the device."""

    def __init__(self, catalogue: Catalogue, models: Path) -> None:
        self._catalogue, self._models, self._device = catalogue, models, choose_device("auto")
        bound = [(role, id) for endpoint in catalogue.endpoints.values() for role, id in endpoint.checkpoints.items()]
        self._painters = {id: self._painter(id) for id in {id for role, id in bound if role != "refiner"}}
        self._refiners = {id: build_refiner(self._work(id)) for id in {id for role, id in bound if role == "refiner"}}

    @torch.inference_mode()
    def paint(self, slug: str, wish: Wish, start: Image.Image | None) -> Image.Image:
        """One picture."""
        endpoint = self._catalogue.endpoints[slug]
        painter, refiner = self._painters[endpoint.checkpoints[wish.base_model]], endpoint.refiner
        if start is not None:
            painter.from_image.scheduler = build_scheduler(wish.scheduler, painter.diffusion)
            return _first(painter.from_image(**wish.said(), image=start, strength=wish.strength))
        painter.from_words.scheduler = build_scheduler(wish.scheduler, painter.diffusion)
        size = {"width": wish.img_width, "height": wish.img_height}
        if refiner is None or not wish.refiner:
            return _first(painter.from_words(**wish.said(), **size))
        part = wish.high_noise_fraction
        latents = painter.from_words(**wish.said(), **size, denoising_end=part, output_type="latent").images
        self._refiners[refiner].scheduler = build_scheduler(wish.scheduler, painter.diffusion)
        return _first(self._refiners[refiner](**wish.said(), image=latents, latents=latents, denoising_start=part))

    def _painter(self, id: str) -> Painter:
        work = self._work(id)
        from_words = build_pipeline(work)
        return Painter(from_words, build_from_image(from_words), diffusion_of(work.path))

    def _work(self, id: str) -> Work:
        entry = self._catalogue.checkpoints[id]
        lender = None if entry.vae is None else str(self._catalogue.checkpoints[entry.vae].path(self._models))
        path = str(entry.path(self._models))
        return Work(1024, 1024, torch.bfloat16, path=path, device=self._device, lender=lender)


def application(studio: Studio) -> FastAPI:
    """The endpoints, all at `/v1/{slug}`."""
    app, thread = FastAPI(), ThreadPoolExecutor(1)

    @app.post("/v1/{slug}")
    async def paint(slug: str, wish: Wish) -> Response:
        start = None if wish.image is None else await asyncio.to_thread(_opened, wish.image)
        picture = await asyncio.get_running_loop().run_in_executor(thread, studio.paint, slug, wish, start)
        return Response(await asyncio.to_thread(_as_png, picture), media_type="image/png")

    return app


def _first(output: Any) -> Image.Image:
    picture: Image.Image = output.images[0]
    return picture


def _opened(data_url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data_url.split(",", 1)[1]))).convert("RGB")


def _as_png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def main() -> None:
    """Serve until it is told to stop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="by default a free one")
    parser.add_argument("--catalogue", type=Path, help="as Gesso's setting `catalogue_file`")
    parser.add_argument("--models", type=Path, default=Path(), help="as Gesso's setting `models_dir`")
    arguments = parser.parse_args()
    app = application(Studio(load_catalogue(arguments.catalogue), arguments.models))
    with socket.create_server(("127.0.0.1", arguments.port), backlog=2048) as listening:
        print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main()
