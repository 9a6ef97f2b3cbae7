"""``mbos predict`` from a checkout."""
from mbos.cli import run

if __name__ == '__main__':
    run('predict')
