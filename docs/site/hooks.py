"""Build the site from the pages of the repository: add pages outside docs/, and a copy of each file that a page links to."""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]

PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
    "cluster/README.md": "cluster.md",
    "notebooks/README.md": "notebooks.md",
}
"""{page outside docs/: its name in the site}."""

_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
_FENCE = re.compile(r"^(```.*?^```)$", re.M | re.S)
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".sbatch": "bash", ".sh": "bash", ".txt": "text", ".md": "markdown"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Return the site's files: every page with its links changed for the site, and a page for each linked file."""
    origins = {**{f"docs/{file.src_uri}": file.src_uri for file in files.documentation_pages()}, **PAGES}
    known = {f"docs/{file.src_uri}": file.src_uri for file in files} | PAGES
    named: dict[str, str] = {}
    for origin, page in origins.items():
        text = _relinked((ROOT / origin).read_text(), origin, page, known, named)
        if (old := files.get_file_from_path(page)) is not None:
            files.remove(old)
        files.append(File.generated(config, page, content=text))
    for path, page in named.items():
        files.append(File.generated(config, page, content=_source(path), inclusion=InclusionLevel.NOT_IN_NAV))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> None:
    """Let the search show the page that explains a word before those that use it."""
    if page.file.src_uri == "concepts.md":
        page.meta["search"] = {"boost": 4}


def _relinked(text: str, origin: str, page: str, known: dict[str, str], named: dict[str, str]) -> str:
    """Return a page's text with its links changed for the site; add files of the repository that it links to to `named`."""

    def moved(link: re.Match[str]) -> str:
        """Return a link as the site needs it."""
        if ":" in link[2]:
            return link[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), link[2]))
        target = known.get(path)
        if target is None and (ROOT / path).is_file():
            target = named[path] = f"source/{path}.md"
        return link[0] if target is None else f"{link[1]}{_between(page, target)}{link[3] or ''}{link[4]}"

    return "".join(part if part.startswith("```") else _LINK.sub(moved, part) for part in _FENCE.split(text))


def _between(page: str, target: str) -> str:
    """Return the relative link from one page of the site to another."""
    return posixpath.relpath(target, posixpath.dirname(page) or ".")


def _source(path: str) -> str:
    """Return a page that shows a file of the repository."""
    language, text = _LANGUAGES.get(Path(path).suffix, "text"), (ROOT / path).read_text()
    head = f"---\ntitle: {path}\nhide: [toc]\nsearch: {{exclude: true}}\n---\n\n# `{path}`"
    return f"{head}\n\n````{language}\n{text}````\n"
