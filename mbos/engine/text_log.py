"""A text log that people can read; the JSON and TensorBoard logs hold all."""
from collections import OrderedDict

from mmcv.runner import HOOKS, TextLoggerHook


@HOOKS.register_module()
class CompactTextLoggerHook(TextLoggerHook):
    """mmcv's text logger, with the losses of a kind added up on the screen.

    Stage 2 has dozens of loss terms. The line on the screen shows the sum of
    each kind (``loss_truth``, ``loss_pseudo``, ``loss_adv``, ...) over heads,
    tasks and datasets, and the mean accuracy of the discriminators; the
    ``.log.json`` beside the log holds every term by its name.
    """

    def _log_info(self, log_dict, runner):
        super()._log_info(condense(log_dict), runner)


def condense(values: dict[str, float]) -> dict[str, float]:
    """Add up losses by kind and average the discriminators' accuracies.

    Args:
        values (dict): What mmcv logs; terms are named
            ``<head>.<kind>.<task>[.on_<dataset>]``.

    Returns:
        dict: The same without the terms, in their place the kinds.
    """
    result, accuracies = OrderedDict(), {}
    for name, value in values.items():
        kind = name.split('.')[1] if name.count('.') > 1 else ''
        if kind.startswith('loss_'):
            result[kind] = result.get(kind, 0) + value
        elif kind.startswith('disc_acc_'):
            accuracies.setdefault(kind, []).append(value)
        else:
            result[name] = value
    for kind, shares in accuracies.items():
        result[kind] = sum(shares) / len(shares)
    return result
