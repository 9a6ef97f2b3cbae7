"""What the tools do: configs, training, evaluation, prediction."""
from .augmentation import augment_test_sets
from .checkpoint import file_sha256, load_weights, read_checkpoint
from .config import (build_checked, find_config, load_config, member_datasets,
                     stage1_model_cfg)
from .environment import Environment, LaunchError, set_up_environment
from .evaluation import EvaluationError
from .evaluation_report import write_report
from .exits import EXPECTED_ERRORS, run_tool
from .inference import (Prediction, PredictionOptions, iterate_predictions,
                        load_model, predict)
from .overlay_hook import EvaluationOverlayHook
from .settings import PredictionSettings
from .test import (EvaluationPlan, build_test_set, evaluate_test_sets,
                   load_segmentor, predict_dataset, thresholds_from_val)
from .train import check_data, train_segmentor

__all__ = [
    'EXPECTED_ERRORS', 'Environment', 'EvaluationError',
    'EvaluationOverlayHook', 'EvaluationPlan', 'LaunchError', 'Prediction',
    'PredictionOptions', 'PredictionSettings', 'build_checked',
    'build_test_set', 'check_data', 'evaluate_test_sets', 'file_sha256',
    'find_config', 'iterate_predictions', 'load_config', 'load_model',
    'load_segmentor', 'load_weights', 'member_datasets', 'predict',
    'predict_dataset', 'read_checkpoint', 'run_tool', 'score_dataset',
    'set_up_environment', 'stage1_model_cfg', 'thresholds_from_val',
    'train_segmentor', 'write_report'
]
