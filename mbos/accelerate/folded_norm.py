"""BatchNorm that is not trained any more, folded into the convolution before.

For prediction only: weights change, so a folded network is neither trained nor
saved.
"""
import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights


class _Tracer(fx.Tracer):
    """Follows values between modules; does not look into the modules."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        """Whether a module is one step: all that has weights of its own."""
        return not any(module.children()) or isinstance(
            module, (nn.Conv2d, _BatchNorm))


@torch.no_grad()
def fold_batch_norm(network: nn.Module) -> int:
    """Fold BatchNorm into convolutions whose output goes nowhere else.

    The results stay the same. What the network does is read from a trace of
    it; where a part cannot be traced, the parts within it are.

    Args:
        network (nn.Module): In evaluation mode; changed in place.

    Returns:
        int: How many were folded.
    """
    try:
        nodes = _Tracer().trace(network).nodes
    except Exception:  # control flow that depends on values, of any kind
        return sum(map(fold_batch_norm, network.children()))
    modules = dict(network.named_modules())
    calls = [node for node in nodes if node.op == 'call_module']
    targets = [node.target for node in calls]
    folded = 0
    for node in calls:
        norm, before = modules[node.target], node.args[0]
        if not (isinstance(norm, _BatchNorm) and not norm.training
                and norm.track_running_stats and before in calls
                and len(before.users) == 1 and targets.count(node.target) == 1
                and targets.count(before.target) == 1):
            continue
        conv = modules[before.target]
        if not isinstance(conv, nn.Conv2d):
            continue
        conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias,
                                                      norm.running_mean,
                                                      norm.running_var,
                                                      norm.eps, norm.weight,
                                                      norm.bias)
        parent, _, name = node.target.rpartition('.')
        # timm's BatchNorm has an activation in it
        setattr(modules[parent], name, getattr(norm, 'act', nn.Identity()))
        folded += 1
    return folded
