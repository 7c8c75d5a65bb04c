"""`python -m deadband_demos` lists the demos; `--json` does so for the command line."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from deadband_demos.catalog import CATALOG


def main() -> None:
    """Print the catalogue."""
    parser = argparse.ArgumentParser(prog="python -m deadband_demos", description=__doc__)
    parser.add_argument("--json", action="store_true")
    if parser.parse_args().json:
        print(json.dumps([asdict(demo) | {"script": str(demo.script)} for demo in CATALOG]))
        return
    for demo in CATALOG:
        print(f"{demo.name:24}  {demo.summary}")


if __name__ == "__main__":
    main()
