"""All else is in pyproject.toml; ``tools/setup_env.sh`` sets up everything."""
from setuptools import find_packages, setup

CONFIGS = 'mbos.configs'  # a folder of the checkout, beside the code in wheels

setup(
    packages=[
        *find_packages(include=['mbos', 'mbos.*', 'prepare_dataset']), CONFIGS
    ],
    package_dir={CONFIGS: 'configs'})
