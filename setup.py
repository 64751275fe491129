"""Name the packages of the wheel; everything else stands in pyproject.toml, which has no key for a folder under another name.

campaigns/ becomes `pipeline/shipped/campaigns`, so that an installed wheel has the campaign files and the small weights too.
"""

from setuptools import find_packages, setup

SHIPPED = {"pipeline.shipped.campaigns": "campaigns"}
"""{package in the wheel: folder of the checkout}; data only."""

setup(packages=[*find_packages(include=["barrage_plugins*", "bart*", "pipeline*", "cluster*"]), *SHIPPED], package_dir=SHIPPED)
