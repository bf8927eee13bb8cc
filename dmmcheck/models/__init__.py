"""The classifiers that can be tested: the protocol `Classifier`, and the adapters that satisfy it."""
