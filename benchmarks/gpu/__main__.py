"""`python -m benchmarks.gpu` measures all parts, or those that are named, each as soon as the one before is done.

Speed does not depend on what weights say, so they are random, of SDXL's full size. Each part prints its rows and a JSON
line; `python -m benchmarks --gpu --output FILE` keeps the lines as they come, so that nothing is lost when time runs
out. `--small` takes networks of next to no size, to try the suite itself on a CPU.
"""

import argparse
import tempfile
from pathlib import Path

import torch

from benchmarks.full_size import SMALL, write_full_size
from benchmarks.gpu import calls, pictures, switching
from benchmarks.gpu.bench import DEVICE, Bench
from benchmarks.report import report
from gesso.sdxl.architecture import SDXL_BASE

PARTS = {
    part.__name__: part
    for part in (
        pictures.throughput,
        pictures.lone,
        calls.calls,
        calls.company,
        calls.ablation,
        calls.decoding,
        switching.switching,
        pictures.eight_bits,
        pictures.compiled_peer,
    )
}
"""What matters most comes first; what compiles for minutes comes last."""


@torch.inference_mode()
def main() -> None:
    """Write the checkpoint, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=", ".join(PARTS))
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.safetensors"
        write_full_size(path, SMALL if options.small else SDXL_BASE)
        bench = Bench(str(path), DEVICE, options.small)
        for name in options.parts or PARTS:
            title = f"{name}: {(PARTS[name].__doc__ or '').splitlines()[0]}"
            report(title, PARTS[name](bench))
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
