"""What pyproject.toml can't say: requirements*.txt are the dependencies, VIREID_CUDA chooses DALI, configs/ is shipped.

DALI is built for CUDA 13 or for CUDA 12. Both builds install the same files and extras only ever add, so which of them
is depended on is decided when the package is built: `VIREID_CUDA=12 pip install .` for drivers of CUDA 12 only.
"""

import os
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
DALI = {"13": "nvidia-dali-cuda130", "12": "nvidia-dali-cuda120"}


def read_requirements(name: str) -> list[str]:
    """The requirements in a file, without comments and references to other files."""
    lines = [line.partition("#")[0].strip() for line in (HERE / name).read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line and not line.startswith("-")]


def choose_dali(requirements: list[str], cuda: str) -> list[str]:
    """The requirements with the build of DALI for this version of CUDA."""
    if cuda not in DALI:
        raise SystemExit(f"VIREID_CUDA: expected one of {', '.join(DALI)}; found {cuda!r}")
    return [line.replace(DALI["13"], DALI[cuda]) for line in requirements]


setup(
    packages=[*find_packages(include=["pipeline", "pipeline.*", "dali_ops", "dali_ops.*"]), "pipeline.configs"],
    package_dir={"pipeline.configs": "configs"},
    package_data={
        "pipeline.configs": ["*.yaml", "*/*.yaml", "*/*.list"],
        "pipeline.literature": ["*.csv"],
        "pipeline.report": ["*.jinja"],
    },
    install_requires=choose_dali(read_requirements("requirements.txt"), os.environ.get("VIREID_CUDA", "13")),
    extras_require={"test": read_requirements("requirements-test.txt")},
)
