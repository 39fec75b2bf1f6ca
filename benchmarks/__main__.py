"""The benchmarks that have goals on a CPU, one after another, each in a process of its own; then which goals are met.

`python -m benchmarks [NAME ...]` runs those that are named. `--output FILE` appends each one's JSON line to a file as
soon as it is there. `--gpu` runs the suite for a GPU instead (`benchmarks.gpu`, `benchmarks.served --full-size`).
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.report import table

ON_CPU = (
    "cold_start",
    "lone_image",
    "eight_at_once",
    "server_cost",
    "png",
    "switching",
    "served",
    "mixed_traffic",
)
ON_GPU = ("gpu", "served --full-size")


def main() -> None:
    """Run them all; the exit status is the number of those that failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=", ".join(ON_CPU))
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    found, failed = list[dict[str, Any]](), list[str]()
    for script in options.names or (ON_GPU if options.gpu else ON_CPU):
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", *f"benchmarks.{script}".split()], stdout=subprocess.PIPE, text=True
        )
        for said in _reports(process):
            found.append(said)
            if options.output:
                with options.output.open("a") as file:
                    file.write(json.dumps(said) + "\n")
        if process.wait():
            failed.append(script)
    _sum_up(found, failed)
    sys.exit(len(failed))


def _reports(process: "subprocess.Popen[str]") -> Iterator[dict[str, Any]]:
    """The JSON lines of what it prints, all of which is shown."""
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        if line.startswith("{"):
            yield json.loads(line)


def _sum_up(found: list[dict[str, Any]], failed: list[str]) -> None:
    rows = [
        {
            "benchmark": said["goal"],
            "what": ", ".join(str(value) for value in list(row.values())[:2]),
            "goal": row["goal"],
            "met": row["met"],
        }
        for said in found
        for row in said["rows"]
        if row.get("met") in ("yes", "no")
    ]
    if rows:
        print("\nGoals")
        print(table(rows))
    if failed:
        print(f"\nFailed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
