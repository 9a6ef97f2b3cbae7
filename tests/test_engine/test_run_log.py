from mbos.engine.run_log import condense


def test_condense():
    values = {
        'lr': 0.1,
        'time': 2.0,
        'decode.loss_truth.vessel': 1.0,
        'aux.loss_truth.vessel': 0.25,
        'decode.loss_truth.odoc': 0.5,
        'decode.loss_adv.vessel.on_ddr': 0.125,
        'decode.disc_acc_source.vessel': 0.5,
        'aux.disc_acc_source.vessel': 1.0,
        'ddr_val.lesion.Dice.EX': 0.3,
        'loss': 1.875
    }
    assert condense(values) == {
        'lr': 0.1,
        'time': 2.0,
        'loss_truth': 1.75,
        'loss_adv': 0.125,
        'disc_acc_source': 0.75,
        'ddr_val.lesion.Dice.EX': 0.3,
        'loss': 1.875
    }
