# Stage 2 of the small network: smaller windows, narrower discriminators.
_base_ = './small_cpu.py'
model = dict(
    type='AdversarialSegmentor',
    decode_head=dict(
        cross_task_attention=dict(
            num_heads=4, window_size=8, share_block=True)),
    discriminator=dict(type='PatchDiscriminator', channels=16),
    adversarial_weights=dict(decode=0.1, aux=0.02),
    pseudo_weight=0.05)
