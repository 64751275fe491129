"""Count the bytes and requests by which units read shards, before and now: python -m benchmarks.shard_reads --before COMMIT

Shards of noise as large as photographs lie in a bucket of a real S3 server, behind a proxy that hears every request. Each unit
has a run of the keyed order of a shard, as in a campaign. Used: the bytes of the images of all units together.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.side_by_side import ROOT, checkout
from pipeline.data import listings
from pipeline.data.pack import pack
from tests.support import faulty_s3

READ = """
import json, sys
from pipeline.data import order, shards
from pipeline.store.layout import Store
try:
    from pipeline.campaigns.attempt.reading import samples
except ImportError:
    samples = lambda store, shard, wanted: shards.read(shard, wanted)
bucket, unit, cells, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
store, used = Store(f"{bucket}/store"), 0
for cell in range(cells):
    for number in range(count):
        shard = shards.inspect(f"{bucket}/images-{number:06d}.tar")
        for start in range(0, shard.images, unit):
            places = order.places(0, shard.name, shard.images, start, min(shard.images, start + unit))
            used += sum(len(sample.image) for sample in samples(store, shard, frozenset(places)))
print(json.dumps(used))
"""


def packed(folder: Path, images: int, side: int, shards: int) -> list[Path]:
    """Write shards of `images` noisy pictures each, and return all files."""
    chance, files = np.random.default_rng(0), []
    for number in range(images * shards):
        data = io.BytesIO()
        Image.fromarray(chance.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(data, "JPEG", quality=90)
        path = folder / f"{number:06d}.jpg"
        path.write_bytes(data.getvalue())
        files.append((path, number % 1000))
    pack(files, folder / "shards", per_shard=images)
    return [path for path in (folder / "shards").iterdir() if path.is_file()]


def counted(build: Path, proxy: faulty_s3.Proxy, bucket: str, args: argparse.Namespace) -> tuple[int, int, int]:
    """Return the bytes that a build used and read of shards and listings, and the requests for them."""
    proxy.heard.clear()
    environment = os.environ | {"PYTHONPATH": str(build), "OMP_NUM_THREADS": "1"}
    call = [sys.executable, "-c", READ, bucket, str(args.unit), str(args.cells), str(args.shards)]
    done = subprocess.run(call, cwd=build, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    asked = [request for request, _ in proxy.heard if ".tar" in request.path or "/store/shards/" in request.path]
    return int(json.loads(done.stdout)), sum(size for request in asked for size in request.answered), len(asked)


def main() -> None:
    """Print a line a way in which the shards lie there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", required=True, help="a commit")
    parser.add_argument("--images", type=int, default=300, help="of a shard")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--unit", type=int, default=100, help="images of a unit")
    parser.add_argument("--cells", type=int, default=3)
    parser.add_argument("--side", type=int, default=350, help="of an image: 350 makes 100 kB, 32 some 2 kB")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, faulty_s3.server() as port, checkout(args.before) as before:
        proxy, files = faulty_s3.Proxy(port), packed(Path(folder), args.images, args.side, args.shards)
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": faulty_s3.SECRET, "AWS_REGION": "us-east-1"}
        os.environ |= keys | {"AWS_ENDPOINT_URL": proxy.url}
        ways = {
            "packed by this build": lambda path: True,
            "without listings beside them": lambda path: not path.name.endswith(listings.ENDING),
            "without an index": lambda path: path.suffix == ".tar",
        }
        for number, (way, there) in enumerate(ways.items()):
            for name, build in (("before", before), ("now", ROOT)):
                bucket = f"/bucket-{number}-{name}"
                faulty_s3.put(port, bucket)
                for path in filter(there, files):
                    faulty_s3.put(port, f"{bucket}/{path.name}", path.read_bytes())
                used, read, requests = counted(build, proxy, f"s3:/{bucket}", args)
                print(
                    f"{args.cells} cells, shards {way}, {name}: {used / 1e6:.1f} MB used, {read / 1e6:.1f} MB read, "
                    f"{read / used:.2f} times, {requests} requests",
                    flush=True,
                )


if __name__ == "__main__":
    main()
