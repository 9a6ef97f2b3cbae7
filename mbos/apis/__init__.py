"""What the tools do: configs, training, evaluation, prediction."""
from mbos.checkpoints.loading import load_weights, read_checkpoint
from mbos.checkpoints.settings import PredictionSettings
from mbos.config import (build_checked, find_config, load_config,
                         member_datasets, stage1_model_cfg)
from mbos.datasets.checks import check_data
from mbos.engine.evaluation_hook import EvaluationOverlayHook
from mbos.engine.train import train_segmentor
from mbos.evaluation.report import write_report
from mbos.evaluation.test import (EvaluationError, EvaluationPlan,
                                  build_test_set, evaluate_test_sets)
from mbos.evaluation.thresholds import thresholds_from_val
from mbos.inference.prediction import Prediction, PredictionOptions
from mbos.inference.predictor import iterate_predictions, load_model, predict
from mbos.inference.test_sets import (augment_test_sets, load_segmentor,
                                      predict_dataset)
from mbos.io.files import file_sha256
from mbos.runtime.environment import (Environment, LaunchError,
                                      set_up_environment)
from mbos.runtime.exits import EXPECTED_ERRORS, run_tool

__all__ = [
    'EXPECTED_ERRORS', 'Environment', 'EvaluationError',
    'EvaluationOverlayHook', 'EvaluationPlan', 'LaunchError', 'Prediction',
    'PredictionOptions', 'PredictionSettings', 'build_checked',
    'build_test_set', 'check_data', 'evaluate_test_sets', 'file_sha256',
    'find_config', 'iterate_predictions', 'load_config', 'load_model',
    'load_segmentor', 'load_weights', 'member_datasets', 'predict',
    'set_up_environment', 'stage1_model_cfg', 'thresholds_from_val',
    'train_segmentor', 'write_report'
]
