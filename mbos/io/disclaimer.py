"""What every output says of itself."""

DISCLAIMER = ('Research software, not a medical device: not for diagnosis or '
              'treatment.')
"""str: On every page, model card and folder of predictions."""
