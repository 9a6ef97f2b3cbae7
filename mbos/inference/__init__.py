"""From photographs to label maps, probabilities and measurements."""
