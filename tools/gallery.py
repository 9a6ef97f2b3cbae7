"""``mbos gallery`` from a checkout."""
from mbos.cli import run

if __name__ == '__main__':
    run('gallery')
