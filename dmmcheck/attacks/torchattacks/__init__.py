"""Attacks of the torchattacks library, restricted to any search space."""
