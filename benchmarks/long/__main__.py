"""Run a campaign for hours under kills and restarts, and plot what it held of its machine:

    python -m benchmarks.long play campaigns/imagenet-lite0.yaml --store STORE --record RECORD --hours 8 --workers 1
    python -m benchmarks.long plot RECORD --picture long.png

A piece ends after its hours, on SIGTERM, or as the campaign is done; the same command goes on with the campaign and its record.
"""

import argparse
from pathlib import Path

from benchmarks.long.play import Play


def _play(args: argparse.Namespace) -> None:
    campaign, store, record = (path.absolute() for path in (args.campaign, args.store, args.record))
    Play(campaign, store, record, args.seed, args.minutes, args.workers).run(args.hours)


def _plot(args: argparse.Namespace) -> None:
    from benchmarks.long import figure, growth

    record = growth.Recorded.read(args.record)
    struck = record.strikes["what"].value_counts()
    print(f"{record.hours:.1f} hours; {', '.join(f'{count} x {what}' for what, count in struck.items()) or 'no strike'}")
    print(f"{'':38} {'median':>9} {'':6} {'growth an hour, 95 % interval':32} {'of':>4} {'samples':>6}")
    for found in growth.fits(record, args.warm):
        print(found)
    if args.picture:
        figure.draw(record, args.picture)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.long", description=__doc__)
    commands = parser.add_subparsers(required=True)
    play = commands.add_parser("play", help="run a campaign under strikes")
    play.add_argument("campaign", type=Path)
    for name in ("--store", "--record"):
        play.add_argument(name, type=Path, required=True)
    play.add_argument("--seed", type=int, default=0, help="of the strikes")
    play.add_argument("--minutes", type=float, default=10, help="between two strikes, on average")
    play.add_argument("--workers", type=int, help="default: as the campaign file says")
    play.add_argument("--hours", type=float, default=8)
    play.set_defaults(run=_play)
    plot = commands.add_parser("plot", help="fit and draw what was recorded")
    plot.add_argument("record", type=Path)
    plot.add_argument("--warm", type=float, default=300, help="seconds of each process that no fit uses")
    plot.add_argument("--picture", type=Path, help="a PNG to write")
    plot.set_defaults(run=_plot)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
