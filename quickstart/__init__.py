"""From raw collections to one table and pictures: ``python -m quickstart``."""
