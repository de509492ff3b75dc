"""What packages that attack a classifier take for granted."""

import cfamc_zoo


def test_a_loaded_classifier_is_in_evaluation_mode_as_a_whole(tiny_release):
    """Some remember the root's own flag, and end by putting every layer into that mode."""
    model = cfamc_zoo.load_classifier(str(tiny_release))
    assert not any(module.training for module in model.modules())
