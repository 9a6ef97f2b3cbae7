# Importing mbos registers its models, datasets, transforms and hooks.
custom_imports = dict(
    imports=['mbos.registration'], allow_failed_imports=False)

log_config = dict(
    interval=50,
    hooks=[
        dict(type='CompactTextLoggerHook'),
        dict(type='TensorboardLoggerHook')
    ])
# sample predictions as pictures, at every evaluation
custom_hooks = [dict(type='EvaluationOverlayHook', samples=2)]
dist_params = dict()  # the backend follows the device: nccl or gloo
log_level = 'INFO'
load_from = None
resume_from = None
workflow = [('train', 1)]
cudnn_benchmark = True
precision = 'float32'  # or 'bf16', 'fp16'
tf32 = None  # True, False: products and convolutions; None: torch's choice
compile = False  # the network through torch.compile
accelerate = True  # on CPU: the same results in less time and memory
