"""Attacks: upper bounds of the distance to the decision boundary, anywhere or inside a search space."""
