"""The search for classifiers that give predictions and no gradients."""
