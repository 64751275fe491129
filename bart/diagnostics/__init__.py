"""Check an attack: how its gradients agree from draw to draw, and whether it finds a weakness that is known to exist.

Other rooms use the names in `__all__`.
"""

from bart.diagnostics.gradient_report import GradientReport, gradient_report
from bart.diagnostics.planted_weakness import PlantedWeakness

__all__ = ["GradientReport", "PlantedWeakness", "gradient_report"]
