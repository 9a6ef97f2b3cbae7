"""The network through torch.compile."""
from torch import nn


def compile_parts(model: nn.Module) -> None:
    """Compile the parts of a segmentor, in place, when they first run.

    The backbone and the heads are compiled each on its own; the loop over
    groups of images, the losses and the discriminators stay as they are.
    Names of parameters do not change, so checkpoints fit either way.
    """
    for part in (model.backbone, *model.dense_heads.values()):
        part.compile()
