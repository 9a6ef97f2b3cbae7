"""From the archives of the collections to the tree that the configs read.

One module per collection; ``python -m prepare_dataset.drive RAW OUT`` prepares
DRIVE, and so on. ``labels.py`` reads masks of every encoding, ``worker.py``
prepares a photograph, ``driver.py`` runs over all of them.
"""
