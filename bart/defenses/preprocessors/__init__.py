"""Change images before the classifier, at random: noise, sizes, crops, bits, JPEG, dropped values.

Other rooms use the names in `__all__`.
"""

from bart.defenses.preprocessors.bit_depth import BitDepth
from bart.defenses.preprocessors.crop_ensemble import CropEnsemble
from bart.defenses.preprocessors.gaussian import Gaussian
from bart.defenses.preprocessors.jpeg import Jpeg
from bart.defenses.preprocessors.resize_pad import ResizePad
from bart.defenses.preprocessors.total_variation import TotalVariation

__all__ = ["BitDepth", "CropEnsemble", "Gaussian", "Jpeg", "ResizePad", "TotalVariation"]
