"""Define what is launched, what a launcher makes of it, and how that is handed to the cluster's own tool."""

import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.config.campaign import Campaign
from pipeline.errors import BadInput

ANSWER_SECONDS = 60.0
"""Time that a cluster's tool has to answer a question."""

SUBMIT_SECONDS = 3600.0
"""Time that a cluster's tool has to accept a job; `ray up` starts a machine first."""


@dataclass(frozen=True)
class Order:
    """Hold what is launched: the campaign file and its content, the store, and the folder for filled job files."""

    file: Path
    campaign: Campaign
    store: str
    folder: Path

    @property
    def name(self) -> str:
        """Return the job's name: letters, digits and dashes, which every scheduler accepts."""
        return "barrage-" + (re.sub(r"[^a-z0-9]+", "-", self.campaign.name.lower()).strip("-")[:40].rstrip("-") or "campaign")


@dataclass(frozen=True)
class Launch:
    """Hold filled job files by name, the commands that submit them, and commands for the user to follow or stop the job."""

    files: dict[str, str]
    commands: list[list[str]]
    follow: list[str]
    stop: list[str]


class Launcher(Protocol):
    """Launch campaigns on one kind of cluster."""

    @property
    def order(self) -> Order:
        """Return what is launched."""
        ...

    def launch(self) -> Launch:
        """Return the filled job files without contacting the cluster. Raises BadInput."""
        ...

    def check(self, launch: Launch) -> None:
        """Ask the cluster's own tool whether it would accept the job; submit nothing. Raises BadInput if not."""
        ...


def require_tool(name: str, remedy: str) -> None:
    """Raise BadInput if a command is not installed."""
    if shutil.which(name) is None:
        raise BadInput(f"{name} is not installed here: {remedy}")


def run_tool(command: list[str], text: str = "", seconds: float = ANSWER_SECONDS) -> subprocess.CompletedProcess[str]:
    """Run a cluster's tool with `text` on its standard input. Raises BadInput if it does not end within `seconds`."""
    try:
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise BadInput(
            f"{shlex.join(command)} gave no answer in {seconds:.0f} s: check that the cluster is reachable"
        ) from None


def error_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the message of a failed command in one line of at most 500 characters."""
    return " ".join((done.stderr or done.stdout).split())[:500]


def submit(launch: Launch, folder: Path) -> str:
    """Write the filled job files and submit them; return what the cluster's tool prints. Raises BadInput if it refuses."""
    for name, text in launch.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    outputs = []
    for command in launch.commands:
        done = run_tool(command, seconds=SUBMIT_SECONDS)
        if done.returncode:
            raise BadInput(f"{shlex.join(command)} refused: {error_line(done)}")
        outputs.append(done.stdout.strip())
    return "\n".join(output for output in outputs if output)
