"""Classifiers of scikit-learn as differentiable torch modules that compute the same scores, one family a file."""
