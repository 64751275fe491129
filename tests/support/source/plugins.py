"""Write a package as `pip` would install it: modules, and a `dist-info` folder that names their entry points."""

from pathlib import Path


def installed(folder, modules, entry_points, name="strange-kinds", version="2.1"):
    """Write modules {name: source} and entry points {group: {name: "module:object"}} into a folder that is on `sys.path`."""
    for module, source in modules.items():
        (Path(folder) / f"{module}.py").write_text(source)
    info = Path(folder) / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = []
    for group, points in entry_points.items():
        lines += [f"[{group}]", *(f"{point} = {target}" for point, target in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
