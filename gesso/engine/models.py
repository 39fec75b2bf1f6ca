"""The networks an engine paints with: brought in when they are needed, kept as long as memory allows.

On a GPU machine there are two places: what leaves the GPU stays in the host's memory while there is room, from where it
is back in a moment; from disk it takes seconds. UNets that are too large for a GPU stay there altogether, and their
weights come as they are used. On a CPU there is one place.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from gesso.engine.loader import Load, Loader, Note
from gesso.engine.memory import Budget, choose_budget
from gesso.engine.messages import CheckpointFiles, Loading, LoraFile, Memory
from gesso.engine.names import Mark, Name, TextName, Voice, Wanted
from gesso.engine.residency import Residency, Resident
from gesso.errors import ServiceUnavailable, SettingsError
from gesso.prompt.chunks import Chunk
from gesso.sdxl.architecture import Architecture, Kind
from gesso.sdxl.checkpoint import Loaded, copied, load_text_encoders, load_unet, load_vae, pinned
from gesso.sdxl.eight_bit import require_eight_bits
from gesso.sdxl.folder import Part
from gesso.sdxl.lora import StrongLora, open_lora
from gesso.sdxl.network import form_of
from gesso.sdxl.precision import FP8, Precision
from gesso.sdxl.streaming import staying_share, streamed
from gesso.sdxl.text import Conditioning, TextEncoders
from gesso.sdxl.unet import Unet
from gesso.sdxl.vae import Vae
from gesso.sdxl.weights import open_weights

REMEMBERED_PROMPTS = 256 * 2**20
"""Bytes of encoded prompts that are kept."""

REMEMBERED_FILES = 256

A_WHILE, LONGEST_PAUSE = 30, 300
"""Seconds after which to come again: where nothing is known yet, and at most."""

PrecisionSetting = Literal["auto", "float32", "bfloat16", "fp8"]


@dataclass(slots=True)
class Held:
    """Networks that a request needs, in use by it; some may still be coming."""

    networks: dict[Name, Resident[Loaded]]

    @property
    def is_here(self) -> bool:
        """Whether all of them have come; raises what one of them could not be brought for."""
        for resident in self.networks.values():
            if resident.error is not None:
                raise resident.error
        return all(resident.part is not None for resident in self.networks.values())

    def unet(self, name: Name) -> Unet:
        """One of them."""
        unet = self.networks[name].part
        assert isinstance(unet, Unet)
        return unet

    def vae(self, name: Name) -> Vae:
        """One of them."""
        vae = self.networks[name].part
        assert isinstance(vae, Vae)
        return vae

    def encoders(self, name: Name) -> TextEncoders:
        """One of them."""
        encoders = self.networks[name].part
        assert isinstance(encoders, TextEncoders)
        return encoders


class Models:
    """Networks on one device and in one precision, and the prompts that were last encoded."""

    def __init__(self, device: torch.device, precision: torch.dtype | Precision, budget: Budget | None = None) -> None:
        torch.backends.cudnn.deterministic = True  # no algorithm that sums in whatever order its threads come by
        self.device = device
        self._precision = Precision.of(precision)
        budget = budget or choose_budget(device)
        self._room = budget.computing
        self._networks: Residency[Name, Loaded] = Residency(budget.device)
        self._aside: Residency[Name, Loaded] | None = None if device.type == "cpu" else Residency(budget.host)
        self._conditionings: Residency[TextName, Conditioning] = Residency(REMEMBERED_PROMPTS)
        self._loader: Loader[Name, Loaded] = Loader()
        self._shares: dict[str, float] = {}
        self._known: dict[tuple[str, Mark], tuple[Architecture, Mapping[Part, int]]] = {}

    def unet_name(self, files: CheckpointFiles, kind: Kind) -> Name:
        """Of the checkpoint's UNet, which must be of this kind.

        Raises:
            ServiceUnavailable: names the file and what is wrong with it.
        """
        name = Name("unet", files.unet, _mark(files.unet), _loras(files.loras, lambda lora: lora.unet))
        found = self._look(name)[0].kind
        if found != kind:
            raise ServiceUnavailable(f"{files.unet} is a {found}, and a {kind} is needed here")
        return name

    def vae_name(self, files: CheckpointFiles) -> Name:
        """Raises as `unet_name` does."""
        path = files.vae or files.unet
        return Name("vae", path, _mark(path))

    def voice(self, files: CheckpointFiles, kind: Kind) -> Voice:
        """Raises as `unet_name` does."""
        path = files.text_encoders or files.unet
        loras = _loras(files.loras, lambda lora: lora.text_encoders)
        return Voice(Name("text", path, _mark(path), loras), kind, files.clip_skip)

    def form(self, unet: Name) -> str:
        """What its UNet has in common with others that take as long."""
        return form_of(self._look(unet)[0].unet or {})

    def architecture(self, unet: Name) -> Architecture:
        """What a UNet's file says of itself, which is known before it is loaded."""
        return self._look(unet)[0]

    def fitted(self, wanted: Wanted) -> Wanted:
        """The same with streamed UNets, if they and the VAE are too large for a device of its own memory."""
        if self._aside is None or sum(map(self._size, wanted.painters)) <= self._networks.budget:
            return wanted
        ensembles = (
            replace(one, unet=one.unet._replace(streamed=True), form=f"{one.form}, streamed")
            for one in wanted.ensembles
        )
        return replace(wanted, ensembles=tuple(ensembles))

    def hold(self, names: Iterable[Name], wanted: Wanted, keep: Iterable[Name] = ()) -> Held | None:
        """Some of the networks that a request wants, in use until they are let go; None while there is no room for all.

        What is on the disk comes by itself; `settle` notices. Nothing that is to be kept leaves for them.
        """
        networks = self._networks.hold({name: self._size(name) for name in names}, keep)
        if networks is None:
            return None
        for name, resident in networks.items():
            if resident.part is None:
                self._bring(name, wanted.whose(name))
        return Held(networks)

    def let_go(self, held: Held) -> None:
        """One user less of these."""
        self._networks.give_back(held.networks.values())
        held.networks = {}

    def prefetch(self, needs: Iterable[Sequence[Name]], wanted: Wanted, keep: Collection[Name]) -> None:
        """Bring what a request will need, as far as there is room for it beside what is in use or to be kept."""
        for names in needs:
            if sum(map(self._size, names)) <= self._networks.budget:
                held = self.hold(names, wanted, keep)
                if held is None:
                    return
                self.let_go(held)
            keep = {*keep, *names}

    def told(self, voice: Voice, chunk: Chunk) -> Conditioning | None:
        """What a voice says of a chunk, if it is remembered."""
        return self._conditionings.find(TextName(voice, chunk))

    def remember(self, voice: Voice, chunk: Chunk, told: Conditioning) -> None:
        """For the next who says the same."""
        self._conditionings.put(TextName(voice, chunk), told, told.context.nbytes + told.pooled.nbytes)

    def settle(self) -> None:
        """Take in what has come from the disk."""
        for load in self._loader.finished():
            if load.part is not None and self._aside is not None:
                self._aside.put(load.key, load.part, load.due)
            for name in (load.key, load.key._replace(streamed=True)):
                if self._networks.is_missing(name) and load.part is not None:
                    self._arrive(name, load.part)
                elif self._networks.is_missing(name) and load.error is not None:
                    self._networks.failed(name, load.error)

    def wait(self, seconds: float) -> None:
        """Until something has come from the disk, or so long."""
        self._loader.wait(seconds)

    def how_far(self, held: Held | None, checkpoint: str) -> ServiceUnavailable:
        """What to tell those who have waited long enough."""
        if held is None:
            return ServiceUnavailable(
                f"{checkpoint} waits for memory that other checkpoints' images are using", A_WHILE
            )
        sources = {name.source for name in held.networks}
        loads = [load for load in self._loader.under_way if load.key in sources]
        done, due = sum(load.done for load in loads), sum(load.due for load in loads)
        left = [load.seconds_left for load in loads if load.seconds_left is not None]
        seconds = math.ceil(sum(left)) if len(left) == len(loads) else A_WHILE
        sentence = f"{checkpoint} is being loaded: {done / 1e6:,.0f} of {due / 1e6:,.0f} MB are there"
        return ServiceUnavailable(sentence, max(1, min(seconds, LONGEST_PAUSE)))

    @property
    def loads(self) -> int:
        """How many networks have come from the disk, or failed to."""
        return self._loader.over

    @property
    def loading(self) -> tuple[Loading, ...]:
        """What is coming from the disk; may be asked from another thread, as `memory` may."""
        return tuple(Loading(load.what, load.done, load.due) for load in self._loader.under_way)

    @property
    def memory(self) -> tuple[Memory, ...]:
        """How much of each place is taken."""
        places = [Memory(self.device.type, self._networks.size, self._networks.budget, self._room)]
        return (*places, *([Memory("host", self._aside.size, self._aside.budget)] if self._aside is not None else []))

    def claim(self, size: int) -> None:
        """So many bytes are taken by what requests hold; networks that nobody uses make room for it."""
        self._networks.claim(size)

    def disclaim(self, size: int) -> None:
        """They are free again."""
        self._networks.disclaim(size)

    def _bring(self, name: Name, checkpoint: str) -> None:
        """From aside at once, from the disk in time."""
        if self._aside is not None and (kept := self._aside.find(name.source)) is not None:
            self._arrive(name, kept)
            return
        what, bring = f"{checkpoint}: {_WHAT[name.part]}", partial(self._load, name.source)
        self._loader.begin(Load(name.source, what, self._size(name.source), bring))

    def _load(self, name: Name, note: Note) -> Loaded:
        """In the loader's thread."""
        host, loras = torch.device("cpu"), [StrongLora(open_lora(path), strength) for path, _, strength in name.loras]
        network: Loaded
        if name.part == "unet":
            network = load_unet(name.path, host, self._precision, loras, note)
        elif name.part == "text":
            network = load_text_encoders(name.path, host, self._precision.dtype, loras, note)
        else:
            network = load_vae(name.path, host, self._precision.dtype, note, self._room)
        is_kept = self._aside is not None and self._size(name) <= self._aside.budget
        return pinned(network) if is_kept and self.device.type == "cuda" else network

    def _arrive(self, name: Name, network: Loaded) -> None:
        """Those who hold it hear why it cannot be brought onto the device."""
        try:
            self._networks.arrived(name, self._on_device(name, network))
        except Exception as error:
            self._networks.failed(name, error)

    def _on_device(self, name: Name, network: Loaded) -> Loaded:
        if self._aside is None:
            return network
        return (
            streamed(network, self.device)
            if name.streamed and isinstance(network, Unet)
            else copied(network, self.device)
        )

    def _size(self, name: Name) -> int:
        """Bytes of its weights on the device."""
        architecture, sizes = self._look(name)
        parts: Iterable[Part] = ("text_encoder", "text_encoder_2") if name.part == "text" else (name.part,)
        size = sum(sizes.get(part, 0) for part in parts)
        return int(size * self._share_that_stays(architecture)) if name.streamed else size

    def _share_that_stays(self, architecture: Architecture) -> float:
        assert architecture.unet is not None
        form = form_of(architecture.unet)
        if form not in self._shares:
            self._shares[form] = staying_share(architecture.unet, self._precision)
        return self._shares[form]

    def _look(self, name: Name) -> tuple[Architecture, Mapping[Part, int]]:
        """What the file says of itself, and the bytes of its parts."""
        key = name.path, name.mark
        if key not in self._known:
            weights = open_weights(name.path)
            self._known[key] = weights.architecture, weights.sizes(self._precision)
            if len(self._known) > REMEMBERED_FILES:
                del self._known[next(iter(self._known))]
        return self._known[key]


_WHAT = {"unet": "UNet", "text": "text encoders", "vae": "VAE"}


def _mark(path: str) -> Mark:
    """Of a file that is not there, nothing: opening it says so."""
    place = Path(path)
    files = sorted(place.rglob("*.safetensors")) if place.is_dir() else [place]
    try:
        stats = [(str(file), file.stat()) for file in files]
    except OSError:
        return ()
    return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats)


def _loras(loras: Iterable[LoraFile], strength: Callable[[LoraFile], float]) -> tuple[tuple[str, Mark, float], ...]:
    return tuple((one.path, _mark(one.path), strength(one)) for one in loras if strength(one))


def choose_device(wanted: str) -> torch.device:
    """The device a setting means: `auto` is the first GPU, or the CPU. Raises SettingsError for a GPU that is none."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device, found = torch.device(wanted), torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= found:
        raise SettingsError(f"setting device = {wanted!r}: torch finds {found} CUDA GPUs here; take cpu, or auto")
    return device


def choose_precision(wanted: PrecisionSetting, device: torch.device) -> Precision:
    """The precision a setting means: `auto` is bfloat16 wherever the hardware computes in it, else float32.

    Raises:
        SettingsError: says what would be right, where the device has no products in 8 bits and `fp8` asks for them.
    """
    if wanted == "fp8":
        require_eight_bits(device)
        return FP8
    if wanted != "auto":
        return Precision(torch.float32 if wanted == "float32" else torch.bfloat16)
    native = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
    return Precision(torch.bfloat16 if native else torch.float32)
