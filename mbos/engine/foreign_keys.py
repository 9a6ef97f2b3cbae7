"""What configs of other trainers have, and what to write instead."""

NOT_DONE = {
    **dict.fromkeys(('fp16', 'amp'), "set precision='fp16' (or 'bf16')"),
    **dict.fromkeys(('max_epochs', 'total_epochs'),
                    'write runner.max_iters; runs count iterations'),
    **dict.fromkeys(('autoscale_lr', 'auto_scale_lr'),
                    'write the learning rate into optimizer.lr'),
    **{
        key: f'it is of mmseg 1.x; write {instead}'
        for key, instead in dict(
            optim_wrapper='optimizer, optimizer_config and precision',
            param_scheduler='lr_config',
            default_hooks='log_config, checkpoint_config, evaluation and '
            'custom_hooks',
            train_dataloader='data.train, data.samples_per_gpu and '
            'data.workers_per_gpu',
            val_dataloader='data.val',
            test_dataloader='data.test',
            val_evaluator='evaluation').items()
    },
    'train_cfg': 'write model.train_cfg and runner',
    'test_cfg': 'write model.test_cfg',
    'total_iters': 'write runner.max_iters',
    'deterministic': 'leave it out: runs on CPU always are; '
    'cudnn_benchmark=False on GPUs',
}  # yapf: disable
"""dict[str, str]: Keys of other trainers, with what to write instead."""

WITHOUT_EFFECT = {
    'find_unused_parameters': 'weights without a gradient are always allowed',
    'dist_params': 'the backend is nccl with CUDA, otherwise gloo',
    'device': 'the first GPU is used, or the CPU where there is none',
    'gpus': 'the launchers say how many processes there are',
    'gpu_ids': 'the launchers and CUDA_VISIBLE_DEVICES choose GPUs',
    'opencv_num_threads': 'loading workers use one thread',
    'mp_start_method': 'workers are forked',
    'default_scope': 'it is of mmseg 1.x',
    'randomness': 'it is of mmseg 1.x; seed sets all seeds',
    'env_cfg': 'it is of mmseg 1.x',
    'visualizer': 'it is of mmseg 1.x',
    'vis_backends': 'it is of mmseg 1.x',
}
"""dict[str, str]: The same of keys that may stay, as nothing is lost."""

INSTEAD = {
    'data.train_dataloader': 'write data.samples_per_gpu and '
    'data.workers_per_gpu',
    'data.val_dataloader': 'evaluations take one image at a time; '
    'data.test_workers says how many processes load them',
    'data.test_dataloader': 'tests take one image at a time; '
    'data.test_workers says how many processes load them',
    'data.persistent_workers': 'leave it out: workers always stay',
    'data.pin_memory': 'leave it out: batches are pinned on GPUs',
    'data.shuffle': 'leave it out: training images always are',
    'runner.max_epochs': 'write runner.max_iters; runs count iterations',
    'evaluation.efficient_test': 'leave it out: evaluations need little '
    'memory anyway',
    'checkpoint_config.out_dir': 'write work_dir, or '
    'checkpoint_config.subfolder',
    'checkpoint_config.filename_tmpl': 'leave it out: --auto-resume looks '
    'for iter_<N>.pth',
}  # yapf: disable
"""dict[str, str]: What to write instead of keys within a part."""

STEP_HOOKS = {
    'GradientCumulativeOptimizerHook': 'accumulate=N',
    'GradientCumulativeFp16OptimizerHook': 'accumulate=N',
    'Fp16OptimizerHook': '',
    'OptimizerHook': 'grad_clip=...',
}
"""dict[str, str]: Optimizer hooks of mmcv, and GradientStepHook's argument."""
