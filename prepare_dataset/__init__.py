"""From the archives of the collections to the tree that the configs read.

One module per collection; ``python -m prepare_dataset.drive RAW OUT`` prepares
DRIVE, and so on. ``fov.py`` finds the field of view, ``labels.py`` reads masks
of every encoding, ``driver.py`` runs over the photographs.
"""
