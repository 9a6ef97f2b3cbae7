"""What the tools do: configs, training, evaluation, prediction."""
from .checkpoint import file_sha256, load_weights, read_checkpoint
from .config import (find_config, load_config, member_datasets,
                     stage1_model_cfg)
from .environment import Environment, set_up_environment
from .test import (build_test_set, load_segmentor, predict_dataset,
                   score_dataset)
from .train import train_segmentor

__all__ = [
    'Environment', 'build_test_set', 'file_sha256', 'find_config',
    'load_config', 'load_segmentor', 'load_weights', 'member_datasets',
    'predict_dataset', 'read_checkpoint', 'score_dataset',
    'set_up_environment', 'stage1_model_cfg', 'train_segmentor'
]
