"""What real shells complete after `barrage --install-completion`, and that completing says and changes nothing else."""

import os
import shutil
import subprocess
import sys

import pytest
import typer

from pipeline.cli.app import app
from tests.support.processes import PATIENCE
from tests.support.source.imports import ROOT

PROGRAM = f"#!{sys.executable}\nimport sys\nfrom pipeline.__main__ import main\nsys.argv[0] = 'barrage'\nmain()\n"
"""The console script, as pip writes it."""

STORE = "docs/results/epsilon-small"

ELSEWHERE = {("train",), ("doctor",), ("launch",), ("cluster",)}
"""Commands whose stores are folders to come, or on another machine."""

LINES = {
    "barrage ver": ["verify"],
    "barrage run campaigns/de": ["campaigns/demo.yaml"],
    "barrage train campaigns/train/cifar10-ad": ["campaigns/train/cifar10-adversarial.yaml"],
    "barrage status docs/results/fi": ["docs/results/figure4-small"],
    f"barrage export {STORE} rows.parquet --cell ": [f"bart-bart5-eps{eps}" for eps in (16, 2, 32, 4, 8)],
    "barrage check campaigns/demo.yaml --cell lite0-b": ["lite0-bart10-pgd", "lite0-bart5-pgd"],
    f"barrage table {STORE} --rule p": ["persistent"],
    f"barrage table {STORE} --format ": ["terminal", "md", "csv", "json"],
    "barrage compare docs/results/fi": ["docs/results/figure4-small"],
    f"barrage compare {STORE} --cell bart-bart5-eps3": ["bart-bart5-eps32"],
    "barrage run campaigns/demo.yaml --track ten": ["tensorboard"],
    "barrage run campaigns/demo.yaml --lim": ["--limit"],
    "barrage launch campaigns/demo.yaml --on s": ["slurm"],
    "barrage schema tr": ["training"],
    "barrage table exam": [],  # folders with a campaign.yaml that are no stores
    "barrage seal README.md --cell ": [],
    "barrage replay none key --cell ": [],
}
"""What stands before the cursor, and what is offered there."""


@pytest.fixture
def shell(tmp_path):
    """A function that runs a script in a shell of a user who has installed the command, and nothing else."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "barrage").write_text(PROGRAM)
    (tmp_path / "bin" / "barrage").chmod(0o755)
    found = {"HOME": str(tmp_path), "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "TERM": "dumb"}

    def run(name, script, place=ROOT):
        if shutil.which(name) is None:
            pytest.skip(f"needs {name}")
        options = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[name]
        done = subprocess.run(
            [name, *options, "-c", script], cwd=place, env=found, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0 and not done.stderr, done.stderr
        return done.stdout

    return run


def pressed(line):
    """Return bash code that completes a line as the key does, and prints what is offered in one line."""
    words = line.split()
    count = len(words) - 1 + line.endswith(" ")
    return (
        f"COMP_WORDS=({line}); COMP_CWORD={count}; COMPREPLY=(); _barrage_completion barrage; "
        'IFS=" "; echo "${COMPREPLY[*]}"; unset IFS\n'
    )


def test_bash_completes_commands_files_stores_cells_and_names(shell):
    script = 'eval "$(_BARRAGE_COMPLETE=source_bash barrage)"\ncomplete -p barrage\n' + "".join(map(pressed, LINES))
    registered, *offered = shell("bash", script).splitlines()
    assert registered == "complete -o default -F _barrage_completion barrage"
    assert {line: words.split() for line, words in zip(LINES, offered, strict=True)} == LINES


COMPLETED = {"campaign", "store", "sides", "cell", "rule", "track"}
"""The parameters whose values a shell knows."""


def leaves(command, path=()):
    """Return every command below one with its words."""
    inner = getattr(command, "commands", {})
    return [leaf for name, each in inner.items() for leaf in leaves(each, (*path, name))] if inner else [(path, command)]


def test_every_command_completes_what_others_do():
    found = [(path, each) for path, command in leaves(typer.main.get_command(app)) for each in command.params]
    known = [(path, each) for path, each in found if each.name in COMPLETED and path not in ELSEWHERE]
    assert len(known) > 20
    assert not [(path, each.name) for path, each in known if each._custom_shell_complete is None]


def test_fish_completes_the_same(shell):
    lines = ["barrage run campaigns/de", "barrage check campaigns/demo.yaml --cell lite0-bart5"]
    script = "env _BARRAGE_COMPLETE=source_fish barrage | source\n" + "\n".join(f'complete -C "{line}"' for line in lines)
    assert shell("fish", script).split() == ["campaigns/demo.yaml", "lite0-bart5-pgd"]


def test_zsh_completes_the_same(shell):
    """The key itself needs a terminal; what it calls does not."""
    script = (
        'autoload -Uz compinit; compinit -u; eval "$(_BARRAGE_COMPLETE=source_zsh barrage)"; print $_comps[barrage]\n'
        '_TYPER_COMPLETE_ARGS="barrage run campaigns/de" _BARRAGE_COMPLETE=complete_zsh barrage\n'
    )
    registered, *offered = shell("zsh", script).splitlines()
    assert registered == "_barrage_completion" and "campaigns/demo.yaml" in "".join(offered)


def test_installed_once_it_works_in_a_new_bash(shell, tmp_path):
    """Typer finds out which shell calls it."""
    shell("bash", "barrage --install-completion bash >/dev/null || true; SHELL=/bin/bash barrage --install-completion; true")
    assert "source" in (tmp_path / ".bashrc").read_text()
    offered = shell("bash", f"source {tmp_path / '.bashrc'}\n{pressed('barrage gal')}")
    assert offered == "gallery\n"


def test_elsewhere_the_files_that_came_with_barrage_are_offered_and_nothing_is_said(shell, tmp_path):
    """An argument that names such a file is found there, which a run says; the line that is being typed stays clean."""
    lines = ["barrage run campaigns/dem", "barrage run campaigns/demo.yaml --detac", "barrage --version sta"]
    script = 'eval "$(_BARRAGE_COMPLETE=source_bash barrage)"\n' + "".join(map(pressed, lines))
    assert shell("bash", script, tmp_path).splitlines() == ["campaigns/demo.yaml", "--detach", "status"]


def test_completing_loads_none_of_the_engine():
    code = (
        "import os, sys; os.environ |= {'COMP_WORDS': 'barrage run campaigns/d', 'COMP_CWORD': '2'}\n"
        "from pipeline.__main__ import app, more_commands\nmore_commands()\n"
        "try: app(prog_name='barrage')\n"
        "except SystemExit: print(*sys.modules)"
    )
    environment = os.environ | {"_BARRAGE_COMPLETE": "complete_bash"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("campaigns/demo.yaml\n")
    assert not set(done.stdout.split()) & {"torch", "ray", "numpy", "pyarrow", "yaml"}
