"""Name settings of attacks as they are used in practice. A preset is a name for settings, never a definition of its own."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

KEY = "preset"
"""The key of an attack's section that names a preset."""

Settings = Mapping[str, Any]


class Preset(NamedTuple):
    """Hold the settings that a name stands for, as a file has them, and where they come from."""

    settings: Settings
    source: str


PRESETS: dict[str, Preset] = {
    "article": Preset({"kind": "pgd", "steps": 40, "eot_draws": 40, "loss": "ce", "momentum": 0}, "Raff et al., CVPR 2019"),
    "sitawarin": Preset(
        {
            "kind": "aggmo",
            "eps": "16/255",
            "steps": 1000,
            "step_size": 0.005,
            "eot_draws": 10,
            "loss": "margin",
            "estimator": "mean_logits",
            "fixed_order": True,
        },
        "Sitawarin, Golan-Strieb, Wagner, ICML 2022",
    ),
    "gao": Preset({"kind": "apgd", "steps": 200, "eot_draws": 1, "loss": "ce"}, "Gao et al., NeurIPS 2022"),
    "purification": Preset(
        {"kind": "pgd", "eps": "8/255", "steps": 200, "eot_draws": 20, "loss": "ce", "momentum": 0}, "Lee, Kim, ICCV 2023"
    ),
    "diffbreak": Preset(
        {"kind": "apgd", "eps": "8/255", "steps": 100, "eot_draws": 128, "loss": "margin"},
        "Kassis, Hengartner, Yu, NeurIPS 2025",
    ),
}
"""The presets by the name that a campaign file uses."""


def expanded(section: Settings) -> dict[str, Any]:
    """Return a section with the settings of its preset, if it names one, in its place; its own keys override them.

    Raises ValueError for a name that is no preset, and for another kind than the preset's.
    """
    own = {key: value for key, value in section.items() if key != KEY}
    if KEY not in section:
        return own
    settings = _named(section[KEY]).settings
    if own.get("kind", settings["kind"]) != settings["kind"]:
        raise ValueError(
            f"kind {own['kind']!r}: preset {section[KEY]} is of kind {settings['kind']}; leave out kind, or write all settings "
            f"without a preset"
        )
    return {**settings, **own}


def meaning(attacks: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each section of a file's attacks that names a preset: what that means, and which keys are its own."""
    for name, section in attacks.items():
        if not isinstance(section, dict) or KEY not in section:
            continue
        preset, own = _named(section[KEY]), {key: value for key, value in section.items() if key not in (KEY, "kind")}
        means = written({key: value for key, value in preset.settings.items() if key not in own})
        yield f"attack {name}: preset {section[KEY]} ({preset.source}) means {means}{'; own: ' * bool(own)}{written(own)}"


def _named(name: Any) -> Preset:
    """Return the preset of a name. Raises ValueError."""
    if not isinstance(name, str) or name not in PRESETS:
        near = get_close_matches(str(name), list(PRESETS), 1)
        instead = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(PRESETS)}"
        raise ValueError(f"unknown preset {name!r}; {instead}")
    return PRESETS[name]


def written(settings: Settings) -> str:
    """Return settings in one line, as YAML has them."""
    return ", ".join(f"{key}: {str(value).lower() if isinstance(value, bool) else value}" for key, value in settings.items())
