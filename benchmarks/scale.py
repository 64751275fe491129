"""The engine at the scale of a GPU-year, without the machines: python -m benchmarks.scale plan"""

import argparse

from benchmarks import scale_plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    scale_plan.add(commands)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
