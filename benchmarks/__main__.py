"""Every benchmark that this machine can run, one after another, each in a process of its own."""

import subprocess
import sys

SCRIPTS = ("cold_start", "lone_image", "eight_at_once", "mixed_traffic")


def main() -> None:
    """Run them all; the exit status is the number of those that failed."""
    failed = [script for script in SCRIPTS if subprocess.call([sys.executable, "-m", f"benchmarks.{script}"])]
    sys.exit(len(failed))


if __name__ == "__main__":
    main()
