"""Compare what `barrage launch --dry-run` prints with the golden files, byte for byte: each example cluster, one campaign."""

from pathlib import Path

import pytest
import ray
import yaml

GOLDEN = Path(__file__).parent / "golden"
FOLDER = Path(__file__).parents[2] / "cluster"
CAMPAIGN = """# The first line of a campaign.
name: table1
data: {shards: "/shared/val/photos-{000000..000049}.tar"}
models: {resnet50: {architecture: "torchvision:resnet50", weights: /shared/resnet50.pt}}
defenses: {bart5: {k: 5}}
attacks: {pgd: {eps: 8/255, steps: 40, step_size: 1/255, eot_draws: 40}}
cells: [{model: resnet50, defense: bart5, attack: pgd}]
workers: {accelerator: V100}
"""
CASES = {
    "slurm": ("slurm", "slurm/example.yaml", {}),
    "kuberay": ("kuberay", "kuberay/example.yaml", {"shared": {"claim": "datasets", "path": "/shared"}}),
    "raycluster": (
        "kuberay",
        "kuberay/example.yaml",
        {
            "raycluster": "barrage",
            "service_account": "barrage",
            "secret": None,
            "shared": {"claim": "datasets", "path": "/shared"},
        },
    ),
    "ray": ("ray", "ray/example.yaml", {"environment": {"AWS_REGION": "us-east-1"}}),
    "aws": ("ray", "ray/aws-example.yaml", {"shared": True}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_dry_run_shows_the_same_text_always(barrage, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BARRAGE_ALLOW_MODULES", raising=False)
    monkeypatch.setattr(ray, "__version__", "2.60.0")
    kind, example, changes = CASES[name]
    store = "/shared/stores/table1" if kind == "slurm" else "s3://bucket/table1"
    Path("table1.yaml").write_text(CAMPAIGN)
    values = yaml.safe_load((FOLDER / example).read_text()) | changes
    Path("cluster.yaml").write_text(yaml.safe_dump({key: value for key, value in values.items() if value is not None}))
    code, out, err = barrage("launch", "table1.yaml", "--on", kind, "--cluster", "cluster.yaml", "--store", store, "--dry-run")
    assert code == 0, err
    assert not Path("launched").exists()
    shown, golden = Path("shown.txt"), GOLDEN / f"{name}.txt"
    shown.write_text(out.replace(str(tmp_path), "/home/ada"))
    assert shown.read_text() == golden.read_text(), f"if you meant this change: cp {shown.absolute()} {golden}"
