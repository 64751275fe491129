import importlib.util
import json
import uuid
from dataclasses import dataclass

import pytest

from pipeline.data.pack import pack
from pipeline.storage import bucket
from tests.support import faulty_s3, tiny
from tests.support.session.once import folder, once


@pytest.fixture(scope="session")
def s3_port():
    if importlib.util.find_spec("moto") is None:
        pytest.skip("needs an S3 server: pip install 'moto[server]'")
    with faulty_s3.server() as port:
        yield port


@dataclass
class S3:
    """An empty bucket behind a proxy that can be told to fail."""

    url: str
    proxy: faulty_s3.Proxy
    port: int

    def publish(self):
        """Lets everybody read."""
        policy = {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:HeadObject"], "Resource": "*"}
        faulty_s3.put(self.port, f"{self.url.removeprefix('s3:/')}?policy", json.dumps({"Statement": [policy]}))


@pytest.fixture
def s3(s3_port, monkeypatch):
    proxy, name = faulty_s3.Proxy(s3_port), f"bucket-{uuid.uuid4().hex}"
    faulty_s3.put(s3_port, f"/{name}")
    environment = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": faulty_s3.SECRET, "AWS_REGION": "us-east-1"}
    for variable, value in (environment | {"AWS_ENDPOINT_URL": proxy.url}).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(bucket, "PAUSES", (0.01, 0.05))
    yield S3(f"s3://{name}", proxy, s3_port)
    proxy.close()


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Return the pattern of three shards, with 10, 10 and 4 images of 40 px; for reading only."""

    def make(place):
        files = []
        for i in range(24):
            path = place / f"image{i}.png"
            path.write_bytes(tiny.picture(i))
            files.append((path, i % tiny.CLASSES))
        pack(files, place / "shards", "train", per_shard=10)

    return str(once(folder(tmp_path_factory) / "photos", make) / "shards" / "train-{000000..000002}.tar")
